using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What <see cref="OutputSide"/> computes; <see langword="null"/> is what was not wanted.</summary>
/// <param name="Scaled">g ⊙ dY [tokens, out].</param>
/// <param name="Sums">Σ dY ⊙ (y − b), [out].</param>
/// <param name="B">dB [out, r].</param>
/// <param name="PartsOfH">What dH is the sum of, [parts, tokens, r].</param>
internal readonly record struct OutputGradients(Tensor? Scaled, Tensor? Sums, Tensor? B, Tensor? PartsOfH);
