using System.Text.Json.Serialization;

namespace DoraSharp.Benchmarks;

/// <summary>One scenario and method in the JSON file; bytes are null where they were not measured.</summary>
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
    long? PeakBytes);
