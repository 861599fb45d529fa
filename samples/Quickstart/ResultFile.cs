using System.Text.Json;
using System.Text.Json.Serialization;

namespace DoraSharp.Samples.Quickstart;

/// <summary>The figures for scripts.</summary>
public sealed record ResultFile
{
    private static readonly JsonSerializerOptions Format = new() { WriteIndented = true };

    /// <summary>One entry for each method.</summary>
    [JsonPropertyName("methods")]
    public required IReadOnlyList<Method> Methods { get; init; }

    /// <summary>How the merged model compares; null where no method has an adapter.</summary>
    [JsonPropertyName("merged")]
    public required MergedModel? Merged { get; init; }

    /// <summary>Writes the figures.</summary>
    /// <exception cref="UserException">The file cannot be written.</exception>
    public static void Write(string path, IEnumerable<MethodResult> results, MergeResult? merged)
    {
        ResultFile file = new()
        {
            Methods =
            [
                .. results.Select(result => new Method(
                    result.Method.Id,
                    result.Trainable,
                    result.Curve.Before,
                    result.Curve.After,
                    result.Curve.Duration.TotalSeconds,
                    result.PeakMegabytes)),
            ],
            Merged = merged is null ? null : new MergedModel(merged.MaxRelativeError, merged.TimeRatio),
        };
        OutputPath.WriteFile("--json", path, [.. JsonSerializer.SerializeToUtf8Bytes(file, Format), (byte)'\n']);
    }

    /// <summary>A method's figures; losses in nats per token, memory in units of 2^20 bytes.</summary>
    public sealed record Method(
        [property: JsonPropertyName("name")] string Name,
        [property: JsonPropertyName("trainable")] long Trainable,
        [property: JsonPropertyName("loss_before")] double LossBefore,
        [property: JsonPropertyName("loss_after")] double LossAfter,
        [property: JsonPropertyName("seconds")] double Seconds,
        [property: JsonPropertyName("peak_mb")] double PeakMegabytes);

    /// <summary>The merged model against the adapted one and the base.</summary>
    public sealed record MergedModel(
        [property: JsonPropertyName("max_rel_error")] double MaxRelativeError,
        [property: JsonPropertyName("time_ratio")] double TimeRatio);
}
