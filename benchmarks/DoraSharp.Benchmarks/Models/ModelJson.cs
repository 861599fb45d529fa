using System.Text.Json.Serialization;

namespace DoraSharp.Benchmarks;

/// <summary>How the model's rows become JSON.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(IReadOnlyList<LlamaRow>))]
internal sealed partial class ModelJson : JsonSerializerContext;
