namespace DoraSharp.Experiments.Quantization;

/// <summary>A model in one storage.</summary>
/// <param name="Name">The storage.</param>
/// <param name="Bits">Bits per parameter of the layers that were quantized.</param>
/// <param name="Error">The relative Frobenius error of their weights together.</param>
/// <param name="Loss">The held-out loss, in nats per token.</param>
internal sealed record StorageResult(string Name, double Bits, double Error, double Loss);
