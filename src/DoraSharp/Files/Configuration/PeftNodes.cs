using System.Text.Json.Nodes;

namespace DoraSharp;

/// <summary>Makes the JSON that PEFT writes for values of several kinds.</summary>
internal static class PeftNodes
{
    /// <summary>An array; null for no texts.</summary>
    public static JsonNode? Texts(IReadOnlyList<string> texts) => texts.Count == 0 ? null : Array(texts, static text => text);

    /// <summary>An array; null for no numbers.</summary>
    public static JsonNode? Wholes(IReadOnlyList<int> numbers) => numbers.Count == 0 ? null : Array(numbers, static number => number);

    public static JsonNode? Modules(TargetModules? modules) => modules switch
    {
        null or { IsModelDefault: true } => null,
        { IsNone: true } => new JsonArray(),
        { Pattern: { } pattern } => pattern,
        _ => Texts(modules.Names),
    };

    /// <summary>An object, in the order given: PEFT sorts it, although the order decides which pattern counts.</summary>
    public static JsonObject Pairs<T>(IEnumerable<KeyValuePair<string, T>> pairs, Func<T, JsonNode?> write)
    {
        JsonObject result = [];
        foreach ((string name, T value) in pairs)
        {
            // Of equal patterns the first one counts.
            result.TryAdd(name, write(value));
        }

        return result;
    }

    /// <summary>An object with fields of its own; null for null.</summary>
    public static JsonObject? Object<T>(T? value, IReadOnlyList<PeftField<T>> fields)
        where T : class =>
        value is null ? null : new(fields.OrderBy(static field => field.Name, StringComparer.Ordinal).Select(field => KeyValuePair.Create(field.Name, field.Write(value))));

    private static JsonArray Array<T>(IReadOnlyList<T> items, Func<T, JsonNode?> write) => new([.. items.Select(write)]);
}
