using System.Text.Json;
using System.Text.Json.Nodes;

namespace DoraSharp;

/// <summary>Turns an <c>adapter_config.json</c> into options. Every field is checked; what it cannot honour it refuses by name.</summary>
internal sealed class PeftConfigReader
{
    private const string Lora = "LORA";
    private const int MaxLength = 1 << 24;

    private readonly JsonElement root;

    private PeftConfigReader(JsonElement root) => this.root = root;

    /// <summary>Reads a file.</summary>
    /// <exception cref="InvalidDataException">The file is damaged, or asks for something that is not supported; the message has its path and the field.</exception>
    public static PeftConfig Read(string path)
    {
        try
        {
            using JsonDocument document = Parse(path);
            return new PeftConfigReader(document.RootElement).Read();
        }
        catch (Exception e) when (e is InvalidDataException or ArgumentException)
        {
            throw new InvalidDataException($"'{path}': {e.Message}", e);
        }
    }

    private static JsonDocument Parse(string path)
    {
        long length = new FileInfo(path).Length;
        if (length > MaxLength)
        {
            throw new InvalidDataException($"The file has {length} bytes; an adapter's configuration has at most {MaxLength}.");
        }

        JsonDocument? document = null;
        try
        {
            document = JsonDocument.Parse(File.ReadAllBytes(path), new JsonDocumentOptions { AllowDuplicateProperties = false });
            JsonText.CheckAll(document.RootElement);
            return document;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException is the answer to texts that are no valid UTF-8 or hold half a surrogate pair.
            document?.Dispose();
            throw new InvalidDataException($"The file is not valid JSON: {e.Message}", e);
        }
    }

    private PeftConfig Read()
    {
        CheckType();
        CheckUnsupported();
        TargetModules? targets = Modules(PeftFields.TargetModules);
        LoraOptions options = new()
        {
            Rank = Field(PeftFields.Rank, 8, Whole),
            Alpha = Field(PeftFields.Alpha, 8, Number),
            Dropout = Field(PeftFields.Dropout, 0, Number),
            UseRsLora = Field(PeftFields.UseRsLora, false, Boolean),
            UseDora = Field(PeftFields.UseDora, false, Boolean),
            Initialization = Field(PeftFields.Initialization, LoraInitialization.Kaiming, Initialization),
            RankPattern = Patterns(PeftFields.RankPattern, Whole),
            AlphaPattern = Patterns(PeftFields.AlphaPattern, Number),
            TargetModules = targets ?? TargetModules.AllLinear,
            ExcludeModules = Modules(PeftFields.ExcludeModules),
        };
        (Dictionary<string, JsonElement> additional, string[] unknown) = Additional();
        PeftMetadata metadata = new()
        {
            BaseModelNameOrPath = OptionalText(PeftFields.BaseModel),
            Revision = OptionalText(PeftFields.Revision),
            TaskType = OptionalText(PeftFields.TaskType),
            InferenceMode = Field(PeftFields.InferenceMode, false, Boolean),
            PeftVersion = OptionalText(PeftFields.PeftVersion),
            AdditionalFields = additional,
        };
        return new(options, targets is not null, metadata, unknown);
    }

    private void CheckType()
    {
        if (root.ValueKind != JsonValueKind.Object)
        {
            throw new InvalidDataException("The file holds no JSON object.");
        }

        string type = OptionalText(PeftFields.PeftType) ?? throw new InvalidDataException($"The field {PeftFields.PeftType} is missing.");
        if (type != Lora)
        {
            throw new InvalidDataException($"{PeftFields.PeftType} is {Shown(root.GetProperty(PeftFields.PeftType))}; only \"{Lora}\" (LoRA and DoRA) is supported.");
        }
    }

    private void CheckUnsupported()
    {
        List<string> refused = [];
        foreach (JsonProperty property in root.EnumerateObject())
        {
            if (PeftFields.Unsupported.TryGetValue(property.Name, out JsonNode? fallback) && !IsDefault(property.Value, fallback))
            {
                refused.Add($"{property.Name} is {Shown(property.Value)} (only {fallback?.ToJsonString() ?? "null"} is supported)");
            }
        }

        if (Field(PeftFields.Bias, "none", Text) is not "none" and string bias)
        {
            refused.Add($"{PeftFields.Bias} is \"{bias}\" (only \"none\" is supported)");
        }

        if (refused.Count > 0)
        {
            throw new InvalidDataException($"{string.Join("; ", refused)}. Supported fields: {string.Join(", ", PeftFields.Supported)}.");
        }
    }

    // Nulls, and empty lists and objects where the default is one, set nothing.
    private static bool IsDefault(JsonElement value, JsonNode? fallback) => value.ValueKind switch
    {
        JsonValueKind.Null => true,
        JsonValueKind.Array => fallback is null && value.GetArrayLength() == 0,
        JsonValueKind.Object => fallback is null or JsonObject && !value.EnumerateObject().Any(),
        _ => fallback is not null && JsonNode.DeepEquals(JsonNode.Parse(value.GetRawText()), fallback),
    };

    private (Dictionary<string, JsonElement> Kept, string[] Unknown) Additional()
    {
        Dictionary<string, JsonElement> kept = [];
        List<string> unknown = [];
        foreach (JsonProperty property in root.EnumerateObject())
        {
            bool isUnknown = !PeftFields.Supported.Contains(property.Name) && !PeftFields.Unsupported.ContainsKey(property.Name);
            if (isUnknown)
            {
                unknown.Add(property.Name);
            }

            if (isUnknown || (property.Name == PeftFields.AutoMapping && property.Value.ValueKind != JsonValueKind.Null))
            {
                kept.Add(property.Name, property.Value.Clone());
            }
        }

        return (kept, [.. unknown]);
    }

    private TargetModules? Modules(string name)
    {
        if (!root.TryGetProperty(name, out JsonElement value) || value.ValueKind == JsonValueKind.Null)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.String)
        {
            return TargetModules.FromPattern(value.GetString()!);
        }

        if (value.ValueKind != JsonValueKind.Array)
        {
            throw Wrong(name, value, "a text, an array of texts or null");
        }

        string[] names = [.. value.EnumerateArray().Select(item => Text(name, item))];
        return names.Length == 0 ? null : TargetModules.Create(names);
    }

    private KeyValuePair<string, T>[] Patterns<T>(string name, Func<string, JsonElement, T> read)
    {
        if (!root.TryGetProperty(name, out JsonElement value) || value.ValueKind == JsonValueKind.Null)
        {
            return [];
        }

        return value.ValueKind == JsonValueKind.Object
            ? [.. value.EnumerateObject().Select(pattern => KeyValuePair.Create(pattern.Name, read(name, pattern.Value)))]
            : throw Wrong(name, value, "an object");
    }

    private T Field<T>(string name, T fallback, Func<string, JsonElement, T> read) =>
        root.TryGetProperty(name, out JsonElement value) ? read(name, value) : fallback;

    private string? OptionalText(string name) =>
        root.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? Text(name, value) : null;

    private static string Text(string name, JsonElement value) =>
        value.ValueKind == JsonValueKind.String ? value.GetString()! : throw Wrong(name, value, "a text");

    private static bool Boolean(string name, JsonElement value) =>
        value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : throw Wrong(name, value, "true or false");

    private static int Whole(string name, JsonElement value) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) ? number : throw Wrong(name, value, "a whole number");

    private static double Number(string name, JsonElement value) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number) ? number : throw Wrong(name, value, "a number");

    private static LoraInitialization Initialization(string name, JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.True => LoraInitialization.Kaiming,
        JsonValueKind.False => LoraInitialization.Random,
        JsonValueKind.String when value.GetString() == PeftConfig.Gaussian => LoraInitialization.Gaussian,
        _ => throw Wrong(name, value, $"true, false or \"{PeftConfig.Gaussian}\" (others are not supported)"),
    };

    private static InvalidDataException Wrong(string name, JsonElement value, string expected) =>
        new($"{name} is {Shown(value)}; it must be {expected}.");

    private static string Shown(JsonElement value)
    {
        string text = value.GetRawText();
        return text.Length <= 100 ? text : text[..100] + "…";
    }
}
