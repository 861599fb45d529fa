namespace DoraSharp.Benchmarks;

/// <summary>The targets that the micro benchmarks speak of.</summary>
internal static class MicroTargets
{
    private const double MicrosecondsOfCall = 5;
    private const double NanosecondsPerMicrosecond = 1e3;

    /// <summary>BenchmarkDotNet's mean over a run wavers by a few bytes; what grows with T would be 511 times as much.</summary>
    private const double BytesOfNoise = 64;

    /// <summary>How much longer the same adapter may take in the larger model: noise.</summary>
    private const double SameTime = 1.2;

    public static IEnumerable<TargetOutcome> Judge(IReadOnlyList<MicroResult> results) => [.. Calls(results), .. Sizes(results)];

    private static IEnumerable<TargetOutcome> Calls(IReadOnlyList<MicroResult> results)
    {
        foreach (bool trains in new[] { false, true })
        {
            MicroResult bare = Find(results, "Call.Bare", tokens: 1, trains);
            foreach (string method in new[] { "Call.Lora", "Call.Dora" })
            {
                MicroResult one = Find(results, method, tokens: 1, trains);
                MicroResult many = Find(results, method, tokens: 512, trains);
                string setting = $"{method}, 32 → 32, {(trains ? "with a graph" : "without gradients")}";
                yield return new("Managed overhead of a call < 5 µs", setting + ", over the bare operations", (one.MedianNs - bare.MedianNs) / NanosecondsPerMicrosecond, MicrosecondsOfCall);
                yield return new("Managed bytes of a call that grow with T", setting + ", T 512 less T 1", many.AllocatedBytes - one.AllocatedBytes, BytesOfNoise);
            }
        }
    }

    private static IEnumerable<TargetOutcome> Sizes(IReadOnlyList<MicroResult> results) =>
        from result in results
        where result.Benchmark.StartsWith("AdapterSize.", StringComparison.Ordinal)
        group result by result.Benchmark into sizes
        let ordered = sizes.ToArray()
        select new TargetOutcome($"{sizes.Key}: as fast in a large model as in a small one", $"{ordered[^1].Parameters} over {ordered[0].Parameters}", ordered[^1].MedianNs / ordered[0].MedianNs, SameTime);

    private static MicroResult Find(IReadOnlyList<MicroResult> results, string benchmark, int tokens, bool trains) =>
        results.First(result => result.Benchmark == benchmark && result.Parameters == $"Tokens={tokens}, Trains={trains}");
}
