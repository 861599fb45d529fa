using System.Text.Json.Serialization;

namespace DoraSharp.Benchmarks;

/// <summary>One figure of the JSON file; what does not apply or could not be measured is null.</summary>
internal sealed record QuantizationRow(
    [property: JsonPropertyName("in")] long In,
    [property: JsonPropertyName("out")] long Out,
    long Tokens,
    int Rank,
    double Dropout,
    [property: JsonPropertyName("dtype")] string DType,
    string Method,
    string Mode,
    double MedianMs,
    double? RatioFloor = null,
    long? SavedBytes = null,
    long? PeakBytes = null)
{
    /// <summary>The bandwidth of decoding over that of filling the same memory.</summary>
    public double? RatioFill { get; init; }

    /// <summary>The time over that of the same with a dense weight.</summary>
    public double? RatioDense { get; init; }

    /// <summary>The memory that a quantized weight takes, measured from live memory, per parameter.</summary>
    public double? BitsPerParameter { get; init; }
}
