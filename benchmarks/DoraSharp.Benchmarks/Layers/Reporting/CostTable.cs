namespace DoraSharp.Benchmarks;

/// <summary>Every training scenario's norm and memory, a scenario a row.</summary>
internal static class CostTable
{
    private static readonly string[] Methods = [MethodCatalog.Lora, MethodCatalog.Dora, MethodCatalog.PeftDora, MethodCatalog.DenseUpdate, MethodCatalog.Factored];

    public static ReportTable Of(IReadOnlyList<ScenarioResult> results)
    {
        string[] withNorm = [.. Methods.Where(method => method != MethodCatalog.Lora)];
        ReportTable table = new(
            "The norm alone, saved activations, peak memory",
            ["mode", "in → out, T, r", "dropout", "dtype", .. withNorm.Select(name => $"norm ms: {name}"), .. Methods.Select(name => $"saved KiB: {name}"), .. Methods.Select(name => $"peak MiB: {name}")],
            TextColumns: 4)
        {
            Caption = "Saved: what a forward pass keeps for the backward pass besides x and y. Peak: over the floor's.",
        };
        foreach (ScenarioResult result in results.Where(result => result.Scenario.HasBackward))
        {
            table.Add([
                .. ScenarioCells.Of(result.Scenario),
                .. withNorm.Select(method => Figures.Two(result[method].NormMilliseconds)),
                .. Methods.Select(method => Figures.KiB(result[method].SavedBytes)),
                .. Methods.Select(method => Figures.MiB(result.PeakOverFloor(method))),
            ]);
        }

        return table;
    }
}
