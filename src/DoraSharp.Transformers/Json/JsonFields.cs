using System.Text;
using System.Text.Json;

namespace DoraSharp.Transformers;

/// <summary>The fields of a JSON object from a file, read with their types checked; every error names the file and the field.</summary>
internal sealed class JsonFields
{
    private readonly JsonElement element;

    private JsonFields(JsonElement element, string source) => (this.element, Source) = (element, source);

    /// <summary>Where the object stands: the file, then the path of fields to it.</summary>
    public string Source { get; }

    /// <summary>The names of the fields that are there.</summary>
    public IEnumerable<string> Names => element.EnumerateObject().Select(member => member.Name);

    /// <summary>All fields, for an object that is a dictionary of non-negative integers.</summary>
    public IEnumerable<KeyValuePair<string, int>> Counts
        => element.EnumerateObject().Select(member => KeyValuePair.Create(member.Name, Count(member.Name, member.Value)));

    /// <summary>Reads a file, whose path is the source.</summary>
    public static JsonFields Load(string path) => Parse(File.ReadAllBytes(path), path);

    /// <summary>Reads UTF-8 text.</summary>
    public static JsonFields Parse(ReadOnlyMemory<byte> json, string source)
    {
        if (json.Span.StartsWith(Encoding.UTF8.Preamble))
        {
            json = json[Encoding.UTF8.Preamble.Length..];
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            JsonText.CheckAll(document.RootElement);
            return Of(document.RootElement.Clone(), source);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw new InvalidDataException($"{source} is not valid JSON: {exception.Message}", exception);
        }
    }

    public static JsonFields Of(JsonElement element, string source)
        => element.ValueKind == JsonValueKind.Object ? new JsonFields(element, source) : throw new InvalidDataException($"{source} must be a JSON object; it is {Kind(element)}.");

    /// <summary>Whether the field is there and not null.</summary>
    public bool Has(string name) => Find(name) is not null;

    /// <summary>Whether the field is there, null or not.</summary>
    public bool Mentions(string name) => element.TryGetProperty(name, out _);

    /// <summary>The field's value, or nothing where it is missing or null.</summary>
    public JsonElement? Find(string name)
        => element.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    public JsonElement Required(string name) => Find(name) ?? throw new InvalidDataException($"{Source} lacks '{name}'.");

    public int PositiveInteger(string name) => OptionalPositiveInteger(name) ?? throw new InvalidDataException($"{Source} lacks '{name}'.");

    public int? OptionalPositiveInteger(string name)
        => Find(name) is not { } value ? null
            : value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number > 0 ? number
            : throw Wrong(name, value, "an integer of 1 or more");

    public int Count(string name) => OptionalCount(name) ?? throw new InvalidDataException($"{Source} lacks '{name}'.");

    public int? OptionalCount(string name) => Find(name) is { } value ? Count(name, value) : null;

    public double PositiveNumber(string name) => OptionalPositiveNumber(name) ?? throw new InvalidDataException($"{Source} lacks '{name}'.");

    public double? OptionalPositiveNumber(string name)
        => OptionalNumber(name) is not { } number ? null : number > 0 ? number : throw Wrong(name, Required(name), "a number above 0");

    public double? OptionalNumber(string name)
        => Find(name) is not { } value ? null
            : value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number) ? number
            : throw Wrong(name, value, "a finite number");

    public bool Flag(string name, bool otherwise)
        => Find(name) is not { } value ? otherwise
            : value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean()
            : throw Wrong(name, value, "true or false");

    public string Text(string name) => OptionalText(name) ?? throw new InvalidDataException($"{Source} lacks '{name}'.");

    public string? OptionalText(string name)
        => Find(name) is not { } value ? null : value.ValueKind == JsonValueKind.String ? value.GetString() : throw Wrong(name, value, "a string");

    public JsonFields Object(string name) => OptionalObject(name) ?? throw new InvalidDataException($"{Source} lacks '{name}'.");

    public JsonFields? OptionalObject(string name) => Find(name) is { } value ? Of(value, $"{Source}: {name}") : null;

    /// <summary>The objects of an array.</summary>
    public IReadOnlyList<JsonFields> Objects(string name)
        => [.. Array(name).Select((item, index) => Of(item, $"{Source}: {name}[{index}]"))];

    public IReadOnlyList<JsonElement> Array(string name)
        => Required(name) is { ValueKind: JsonValueKind.Array } value ? [.. value.EnumerateArray()] : throw Wrong(name, Required(name), "an array");

    /// <summary>The error for a field whose value is not what it must be.</summary>
    public InvalidDataException Wrong(string name, JsonElement value, string expected)
        => new($"{Source}: '{name}' is {Shown(value)}; it must be {expected}.");

    public static string Shown(JsonElement value)
    {
        string text = value.GetRawText();
        return text.Length <= 60 ? text : text[..60] + "…";
    }

    private int Count(string name, JsonElement value)
        => value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number is >= 0 and < int.MaxValue
            ? number
            : throw Wrong(name, value, "an integer of 0 or more");

    private static string Kind(JsonElement element)
        => element.ValueKind is JsonValueKind.Object or JsonValueKind.Array ? "an " + element.ValueKind.ToString().ToLowerInvariant() : Shown(element);
}
