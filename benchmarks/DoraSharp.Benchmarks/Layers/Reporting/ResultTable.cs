using System.Globalization;

namespace DoraSharp.Benchmarks;

/// <summary>One scenario's results, a method a row.</summary>
internal static class ResultTable
{
    public static ReportTable Of(ScenarioResult result)
    {
        Scenario scenario = result.Scenario;
        ReportTable table = new(scenario.ToString(), ["method", "ms", "± %", "× floor", "× LoRA", "× limit", "norm ms", "saved KiB", "peak MiB over floor"])
        {
            Caption = string.Create(
                CultureInfo.InvariantCulture,
                $"limits: LoRA {ArithmeticLimit.Lora(scenario):f3}, DoRA {ArithmeticLimit.Dora(scenario):f3}; medians of {result.Methods.Min(method => method.Times.Count)} steps or more"),
        };
        foreach (MethodResult method in result.Methods)
        {
            string name = method.Method.Name;
            double ratio = result.Ratio(name, MethodCatalog.Floor);
            table.Add(
                name,
                Figures.Three(method.MedianMilliseconds),
                Figures.Percent(method.Times.Spread),
                Figures.Three(ratio),
                Figures.Three(result.Ratio(name, MethodCatalog.Lora)),
                Figures.Three(ratio / method.Method.Limit(scenario)),
                Figures.Three(method.NormMilliseconds),
                Figures.KiB(method.SavedBytes),
                Figures.MiB(result.PeakOverFloor(name)));
        }

        return table;
    }
}
