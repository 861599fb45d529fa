namespace DoraSharp.Benchmarks;

/// <summary>The suites in the order in which they run. A new one is one type and one line here.</summary>
internal static class SuiteCatalog
{
    /// <summary>What runs when no suite is named.</summary>
    public static Suite Default => All[0];

    public static IReadOnlyList<Suite> All { get; } =
    [
        new LayerSuite(),
        new ModelSuite(),
        new MicroSuite(),
        new PrecisionSuite(),
    ];
}
