using System.Text.Json.Serialization;

namespace DoraSharp.Benchmarks;

/// <summary>How rows become JSON.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(IReadOnlyList<JsonRow>))]
internal sealed partial class LayerJson : JsonSerializerContext;
