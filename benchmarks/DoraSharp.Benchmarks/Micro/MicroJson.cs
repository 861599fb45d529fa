using System.Text.Json.Serialization;

namespace DoraSharp.Benchmarks;

/// <summary>How the micro benchmarks' results become JSON.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(IReadOnlyList<MicroResult>))]
internal sealed partial class MicroJson : JsonSerializerContext;
