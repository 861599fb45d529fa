using System.Text.Json;

namespace DoraSharp.Benchmarks;

/// <summary>Writes the results as an array with one object per scenario and method.</summary>
internal static class JsonReport
{
    /// <summary>Puts the file in place whole: a reader never sees half of it.</summary>
    public static void Write(FileInfo file, IEnumerable<ScenarioResult> results)
    {
        IReadOnlyList<JsonRow> rows = [.. results.SelectMany(result => result.Methods.Select(method => Row(result, method)))];
        file.Directory?.Create();
        string pending = file.FullName + ".tmp";
        File.WriteAllText(pending, JsonSerializer.Serialize(rows, JsonRows.Default.IReadOnlyListJsonRow) + "\n");
        File.Move(pending, file.FullName, overwrite: true);
    }

    private static JsonRow Row(ScenarioResult result, MethodResult method)
    {
        (LayerShape shape, var dtype, StepMode mode, double dropout) = result.Scenario;
        return new(
            shape.In, shape.Out, shape.Tokens, shape.Rank, dropout, Names.Of(dtype), method.Method.Name, Names.Of(mode),
            Math.Round(method.MedianMilliseconds, 5), Math.Round(result.Ratio(method.Method.Name, MethodCatalog.Floor), 4),
            method.SavedBytes, method.PeakBytes);
    }
}
