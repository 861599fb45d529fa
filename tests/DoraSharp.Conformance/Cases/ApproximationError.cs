namespace DoraSharp.Conformance;

/// <summary>The error of the best approximation of some rank.</summary>
internal sealed record ApproximationError(double FrobeniusError, double Relative, double SpectralError);
