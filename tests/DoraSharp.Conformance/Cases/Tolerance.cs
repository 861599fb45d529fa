namespace DoraSharp.Conformance;

/// <summary>How far a value may be from the expected one: |a − b| ≤ max(atol + rtol·|b|, rtol·max|b|).</summary>
/// <param name="Rtol">The relative part.</param>
/// <param name="Atol">The absolute part.</param>
internal sealed record Tolerance(double Rtol, double Atol = 0);
