namespace DoraSharp.Conformance;

/// <summary>The settings of a LoftQ initialisation that has no adapter folder.</summary>
internal sealed record LoftqDescription(int Bits, int Iterations, int R, double LoraAlpha);
