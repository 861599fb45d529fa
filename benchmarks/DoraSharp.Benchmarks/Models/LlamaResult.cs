namespace DoraSharp.Benchmarks;

/// <summary>What was measured of one case.</summary>
/// <param name="Case">The case.</param>
/// <param name="Times">Milliseconds per micro step.</param>
/// <param name="PeakBytes">The peak memory; <see langword="null"/> where it was not measured.</param>
internal sealed record LlamaResult(LlamaCase Case, Samples Times, long? PeakBytes);
