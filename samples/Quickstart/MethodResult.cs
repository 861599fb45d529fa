namespace DoraSharp.Samples.Quickstart;

/// <summary>What a method reached, and at what cost.</summary>
/// <param name="Method">The method.</param>
/// <param name="Trainable">The number of parameters that it trained.</param>
/// <param name="Curve">Losses and time.</param>
/// <param name="PeakMegabytes">The highest resident memory from loading the model to the last step, above that before.</param>
public sealed record MethodResult(FineTuningMethod Method, long Trainable, TrainingCurve Curve, double PeakMegabytes);
