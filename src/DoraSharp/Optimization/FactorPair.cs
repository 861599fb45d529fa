using TorchSharp.Modules;

namespace DoraSharp;

/// <summary>The factors of one adapter of one weight.</summary>
/// <param name="Path">The weight's path, for messages.</param>
/// <param name="A">A [r, in].</param>
/// <param name="B">B [out, r].</param>
/// <param name="Scaling">s.</param>
internal sealed record FactorPair(string Path, Parameter A, Parameter B, double Scaling);
