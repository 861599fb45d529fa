using System.Globalization;
using Spectre.Console;

namespace DoraSharp.Benchmarks;

/// <summary>A scenario's results as a table.</summary>
internal static class ResultTable
{
    private const string None = "–";

    public static Table Of(ScenarioResult result)
    {
        Scenario scenario = result.Scenario;
        string caption = string.Create(
            CultureInfo.InvariantCulture,
            $"limits: LoRA {ArithmeticLimit.Lora(scenario):f3}, DoRA {ArithmeticLimit.Dora(scenario):f3}; medians of {result.Methods.Min(method => method.Times.Count)} steps or more");
        Table table = new Table().Border(TableBorder.Simple).Title(scenario.ToString()).Caption(caption).AddColumn("method");
        foreach (string header in new[] { "ms", "± %", "× floor", "× LoRA", "× limit", "norm ms", "saved KiB", "peak MiB over floor" })
        {
            table.AddColumn(header, column => column.RightAligned());
        }

        foreach (MethodResult method in result.Methods)
        {
            string name = method.Method.Name;
            double ratio = result.Ratio(name, MethodCatalog.Floor);
            table.AddRow(
                name,
                Number(method.MedianMilliseconds),
                (method.Times.Spread * 100).ToString("f1", CultureInfo.InvariantCulture),
                Number(ratio),
                Number(result.Ratio(name, MethodCatalog.Lora)),
                Number(ratio / method.Method.Limit(scenario)),
                method.NormMilliseconds is { } norm ? Number(norm) : None,
                Whole(method.SavedBytes, 1 << 10),
                Whole(method.PeakBytes - result[MethodCatalog.Floor].PeakBytes, 1 << 20));
        }

        return table;
    }

    private static string Number(double value) => value.ToString("f3", CultureInfo.InvariantCulture);

    private static string Whole(long? bytes, int unit) => bytes is { } b ? (b / unit).ToString(CultureInfo.InvariantCulture) : None;
}
