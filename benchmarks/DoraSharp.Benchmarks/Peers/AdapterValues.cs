using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>What a DoRA adapter starts from.</summary>
/// <param name="A">A [r, in], float32.</param>
/// <param name="B">B [out, r], float32.</param>
/// <param name="Magnitude">m [out], float32.</param>
/// <param name="Scaling">s = α/r.</param>
/// <param name="Dropout">The probability of dropout in training.</param>
internal sealed record AdapterValues(Tensor A, Tensor B, Tensor Magnitude, double Scaling, double Dropout);
