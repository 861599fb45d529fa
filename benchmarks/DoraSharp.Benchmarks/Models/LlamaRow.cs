using System.Text.Json.Serialization;

namespace DoraSharp.Benchmarks;

/// <summary>One case in the JSON file; times are per micro step.</summary>
internal sealed record LlamaRow(
    string Method,
    double Dropout,
    int MicroSteps,
    [property: JsonPropertyName("dtype")] string DType,
    double MedianMs,
    double RatioFrozen,
    long? PeakBytes);
