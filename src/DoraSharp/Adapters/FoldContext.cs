using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What a step of the fold needs to know of the fold as a whole.</summary>
/// <param name="Weight">The frozen weight W.</param>
/// <param name="Geometry">How inputs meet the weight.</param>
/// <param name="Bias">The bias [out] that the outputs hold, which no step may scale; <see langword="null"/> for bare products.</param>
/// <param name="Drops">Whether dropout acts: in training, on the layer's own input.</param>
/// <param name="ProductSoFar">V x' without bias or dropout, V as the earlier steps made it, for another input x'.</param>
internal readonly record struct FoldContext(FrozenWeight Weight, Geometry Geometry, Tensor? Bias, bool Drops, Func<Tensor, Tensor> ProductSoFar);
