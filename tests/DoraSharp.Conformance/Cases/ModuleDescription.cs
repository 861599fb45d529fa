using System.Text.Json;

namespace DoraSharp.Conformance;

/// <summary>A module of a model.</summary>
/// <param name="Path">Where it is in the model.</param>
/// <param name="Type">The name of its type in PyTorch.</param>
/// <param name="Args">The arguments that differ from PyTorch's defaults, by PyTorch's names.</param>
internal sealed record ModuleDescription(string Path, string Type, IReadOnlyDictionary<string, JsonElement> Args)
{
    /// <summary>A whole number that must be given.</summary>
    public long Integer(string name) => Args[name].GetInt64();

    /// <summary>A whole number, or <see langword="null"/> where it is left out.</summary>
    public long? OptionalInteger(string name) => Has(name) ? Args[name].GetInt64() : null;

    /// <summary>A number, or <see langword="null"/> where it is left out.</summary>
    public double? OptionalNumber(string name) => Has(name) ? Args[name].GetDouble() : null;

    public bool Flag(string name, bool fallback) => Has(name) ? Args[name].GetBoolean() : fallback;

    public string Text(string name, string fallback) => Has(name) && Args[name].ValueKind == JsonValueKind.String ? Args[name].GetString()! : fallback;

    /// <summary>One number per dimension: a list, or one number for all.</summary>
    public long[] PerDimension(string name, int dimensions, long fallback) =>
        !Has(name) ? [.. Enumerable.Repeat(fallback, dimensions)]
        : Args[name].ValueKind == JsonValueKind.Array ? [.. Args[name].EnumerateArray().Select(static item => item.GetInt64())]
        : [.. Enumerable.Repeat(Args[name].GetInt64(), dimensions)];

    private bool Has(string name) => Args.TryGetValue(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null;
}
