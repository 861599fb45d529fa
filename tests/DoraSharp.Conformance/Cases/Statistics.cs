namespace DoraSharp.Conformance;

/// <summary>What was measured on the elements of a random tensor.</summary>
internal sealed record Statistics(double Mean, double Std, double Min, double Max, long N);
