using System.Text.Json.Serialization;

namespace DoraSharp.Benchmarks;

/// <summary>How rows become JSON.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(IReadOnlyList<QuantizationRow>))]
internal sealed partial class QuantizationJson : JsonSerializerContext;
