namespace DoraSharp.Experiments.Quantization;

/// <summary>What one run reached.</summary>
/// <param name="Method">The method's name.</param>
/// <param name="Rate">Its learning rate.</param>
/// <param name="Seed">The seed of first values and batches.</param>
/// <param name="Before">The held-out loss before the first step, in nats per token.</param>
/// <param name="After">The held-out loss after the last; not a number where the run diverged.</param>
/// <param name="Seconds">The time of the steps.</param>
/// <param name="PeakMegabytes">By how much resident memory rose at most, the model included.</param>
internal sealed record FineTuningRun(string Method, double Rate, int Seed, double Before, double After, double Seconds, double PeakMegabytes);
