namespace DoraSharp.Benchmarks;

/// <summary>Every scenario's step times over the floor's, a scenario a row.</summary>
internal static class RatioTable
{
    public static ReportTable Of(IReadOnlyList<ScenarioResult> results)
    {
        string[] methods = [.. MethodCatalog.All.Select(method => method.Name).Where(name => name != MethodCatalog.Floor)];
        ReportTable table = new("Step time over the floor's", ["mode", "in → out, T, r", "dropout", "dtype", "floor ms", "limit LoRA", "limit DoRA", .. methods, "dora / lora"], TextColumns: 4);
        foreach (ScenarioResult result in results)
        {
            table.Add([
                .. ScenarioCells.Of(result.Scenario),
                Figures.Two(result[MethodCatalog.Floor].MedianMilliseconds),
                Figures.Two(ArithmeticLimit.Lora(result.Scenario)),
                Figures.Two(ArithmeticLimit.Dora(result.Scenario)),
                .. methods.Select(method => Figures.Two(result.Ratio(method, MethodCatalog.Floor))),
                Figures.Three(result.Ratio(MethodCatalog.Dora, MethodCatalog.Lora)),
            ]);
        }

        return table;
    }
}
