using TorchSharp.Modules;

namespace DoraSharp;

/// <summary>The factors of one adapter of one weight.</summary>
/// <param name="Path">The weight's path, for messages.</param>
/// <param name="A">A [r, in].</param>
/// <param name="B">B [out, r], or [out, r/groups].</param>
/// <param name="Scaling">s.</param>
/// <param name="Groups">The number of products that the update has side by side: those of a convolution's groups, else 1.</param>
internal sealed record FactorPair(string Path, Parameter A, Parameter B, double Scaling, long Groups = 1);
