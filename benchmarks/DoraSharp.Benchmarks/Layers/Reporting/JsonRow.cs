using System.Text.Json.Serialization;

namespace DoraSharp.Benchmarks;

/// <summary>One scenario and method in the JSON file; bytes are null where they could not be measured.</summary>
internal sealed record JsonRow(
    [property: JsonPropertyName("in")] long In,
    [property: JsonPropertyName("out")] long Out,
    long Tokens,
    int Rank,
    double Dropout,
    [property: JsonPropertyName("dtype")] string DType,
    string Method,
    string Mode,
    double MedianMs,
    double RatioFloor,
    long? SavedBytes,
    long? PeakBytes)
{
    public static IReadOnlyList<JsonRow> Of(IEnumerable<ScenarioResult> results) =>
        [.. results.SelectMany(result => result.Methods.Select(method => Of(result, method)))];

    private static JsonRow Of(ScenarioResult result, MethodResult method)
    {
        (LayerShape shape, var dtype, StepMode mode, double dropout) = result.Scenario;
        return new(
            shape.In, shape.Out, shape.Tokens, shape.Rank, dropout, Names.Of(dtype), method.Method.Name, Names.Of(mode),
            Math.Round(method.MedianMilliseconds, 5), Math.Round(result.Ratio(method.Method.Name, MethodCatalog.Floor), 4),
            method.SavedBytes, method.PeakBytes);
    }
}
