namespace DoraSharp.Benchmarks;

/// <summary>What BenchmarkDotNet measured of one benchmark.</summary>
/// <param name="Benchmark">Class and method, such as <c>Call.Dora</c>.</param>
/// <param name="Parameters">Its parameters, such as <c>Tokens=1</c>; may be empty.</param>
/// <param name="MedianNs">The median time of a call, in nanoseconds.</param>
/// <param name="AllocatedBytes">The managed memory that a call allocates.</param>
internal sealed record MicroResult(string Benchmark, string Parameters, double MedianNs, long AllocatedBytes);
