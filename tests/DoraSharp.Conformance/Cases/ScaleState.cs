namespace DoraSharp.Conformance;

/// <summary>A state of an adapter's scaling.</summary>
/// <param name="Factor">What the initial scaling is multiplied by.</param>
/// <param name="Scaling">The scaling itself.</param>
internal sealed record ScaleState(double Factor, double Scaling);
