using System.Text.Json;
using System.Text.Json.Nodes;

namespace DoraSharp;

/// <summary>The value of a field in a configuration that was read; every access checks it.</summary>
/// <param name="Name">The field's name, for messages.</param>
/// <param name="Json">What the file has there.</param>
internal readonly record struct PeftValue(string Name, JsonElement Json)
{
    private const int Shown = 100;

    // A regular expression takes hundreds of times its length.
    private const int LongestPattern = 1 << 15;

    /// <summary>The value as the file has it, cut where it is long.</summary>
    public string Excerpt
    {
        get
        {
            string text = Json.GetRawText();
            return text.Length <= Shown ? text : text[..Shown] + "…";
        }
    }

    private bool IsNull => Json.ValueKind == JsonValueKind.Null;

    public string Text() => Json.ValueKind == JsonValueKind.String ? Json.GetString()! : throw Wrong("a text");

    public string? OptionalText() => IsNull ? null : Text();

    public bool Boolean() => Json.ValueKind is JsonValueKind.True or JsonValueKind.False ? Json.GetBoolean() : throw Wrong("true or false");

    public int Whole() => Json.ValueKind == JsonValueKind.Number && Json.TryGetInt32(out int number) ? number : throw Wrong("a whole number");

    public long Long() => Json.ValueKind == JsonValueKind.Number && Json.TryGetInt64(out long number) ? number : throw Wrong("a whole number");

    public double Number() =>
        Json.ValueKind == JsonValueKind.Number && Json.TryGetDouble(out double number) && double.IsFinite(number) ? number : throw Wrong("a number");

    /// <summary>An array of texts; nothing for null.</summary>
    public string[] Texts() => Items(static item => item.Text(), "an array of texts or null");

    /// <summary>An array of texts or a single one; nothing for null and an empty text.</summary>
    public string[] OneOrMoreTexts() =>
        Json.ValueKind == JsonValueKind.String ? Json.GetString() is { Length: > 0 } text ? [text] : [] : Items(static item => item.Text(), "a text, an array of texts or null");

    /// <summary>An array of whole numbers; nothing for null.</summary>
    public int[] Wholes() => Items(static item => item.Whole(), "an array of whole numbers or null");

    /// <summary>An array of whole numbers or a single one; nothing for null.</summary>
    public int[] OneOrMoreWholes() =>
        Json.ValueKind == JsonValueKind.Number ? [Whole()] : Items(static item => item.Whole(), "a whole number, an array of them or null");

    /// <summary>An object's fields in their order; nothing for null.</summary>
    public KeyValuePair<string, T>[] Pairs<T>(Func<PeftValue, T> read)
    {
        string name = Name;
        return Json.ValueKind switch
        {
            JsonValueKind.Null => [],
            JsonValueKind.Object => [.. Json.EnumerateObject().Select(field => KeyValuePair.Create(field.Name, read(new(name, field.Value))))],
            _ => throw Wrong("an object"),
        };
    }

    /// <summary>Names of modules in a list, a regular expression, or <see langword="null"/>.</summary>
    public TargetModules? Modules() => Json.ValueKind switch
    {
        JsonValueKind.Null => null,
        JsonValueKind.String => Text() is { Length: <= LongestPattern } pattern ? TargetModules.FromPattern(pattern) : throw Wrong($"a regular expression of at most {LongestPattern} characters"),
        _ => Items(static item => item.Text(), "a text, an array of texts or null") is { Length: > 0 } names ? TargetModules.Create(names) : TargetModules.None,
    };

    /// <summary>An object with fields of its own; <see langword="null"/> for null and an empty one.</summary>
    public T? Object<T>(T start, IReadOnlyList<PeftField<T>> fields)
        where T : class
    {
        if (IsDefault(new JsonObject()))
        {
            return null;
        }

        T result = start;
        foreach ((string name, PeftValue value) in Pairs(static value => value))
        {
            PeftValue inner = value with { Name = $"{Name}.{name}" };
            PeftField<T> field = fields.FirstOrDefault(field => field.Name == name)
                ?? throw new InvalidDataException($"{inner.Name} is not known; there are {string.Join(", ", fields.Select(static field => field.Name))}.");
            result = field.ReadChecked(result, inner);
        }

        return result;
    }

    /// <summary>Whether the value says no more than a field's default. Nulls set nothing, and neither do empty lists and objects.</summary>
    public bool IsDefault(JsonNode? fallback) => Json.ValueKind switch
    {
        JsonValueKind.Null => true,
        JsonValueKind.Array => fallback is null && Json.GetArrayLength() == 0,
        JsonValueKind.Object => fallback is JsonObject && !Json.EnumerateObject().Any(),
        JsonValueKind.Number => fallback is JsonValue value && value.GetValueKind() == JsonValueKind.Number && Json.TryGetDouble(out double number) && number == value.GetValue<int>(),
        _ => fallback is not null && JsonNode.DeepEquals(JsonValue.Create(Json), fallback),
    };

    public InvalidDataException Wrong(string expected) => new($"{Name} is {Excerpt}; it must be {expected}.");

    private T[] Items<T>(Func<PeftValue, T> read, string expected)
    {
        string name = Name;
        return Json.ValueKind switch
        {
            JsonValueKind.Null => [],
            JsonValueKind.Array => [.. Json.EnumerateArray().Select(item => read(new(name, item)))],
            _ => throw Wrong(expected),
        };
    }
}
