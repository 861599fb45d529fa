using System.Text.Json;

namespace DoraSharp;

/// <summary>Turns an <c>adapter_config.json</c> into options. Every field is checked; what it cannot honour it refuses by name.</summary>
internal static class PeftConfigReader
{
    // What is in the file takes up to some forty times its length in objects; the limit bounds that.
    private const int MaxLength = 1 << 20;

    /// <summary>Reads a file.</summary>
    /// <exception cref="InvalidDataException">The file is damaged, or asks for something that is not supported; the message has its path and the field.</exception>
    public static PeftConfig Read(string path)
    {
        try
        {
            byte[] text = Load(path);
            return Read(text, Parse(text));
        }
        catch (InvalidDataException e)
        {
            throw new InvalidDataException($"'{path}': {e.Message}", e);
        }
    }

    private static byte[] Load(string path)
    {
        long length = new FileInfo(path).Length;
        if (length > MaxLength)
        {
            throw new InvalidDataException($"The file has {length} bytes; an adapter's configuration has at most {MaxLength}.");
        }

        return File.ReadAllBytes(path);
    }

    private static JsonElement Parse(byte[] text)
    {
        try
        {
            JsonElement root = JsonElement.Parse(text, new JsonDocumentOptions { AllowDuplicateProperties = false });
            JsonText.CheckAll(root);
            return root.ValueKind == JsonValueKind.Object ? root : throw new InvalidDataException("The file holds no JSON object.");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException is the answer to texts that are no valid UTF-8 or hold half a surrogate pair.
            throw new InvalidDataException($"The file is not valid JSON: {e.Message}", e);
        }
    }

    private static PeftConfig Read(byte[] text, JsonElement root)
    {
        if (!root.TryGetProperty(PeftKind.FieldName, out JsonElement type) || type.ValueKind == JsonValueKind.Null)
        {
            throw new InvalidDataException($"The field {PeftKind.FieldName} is missing.");
        }

        PeftKind kind = PeftKind.Of(new PeftValue(PeftKind.FieldName, type));
        AdapterOptions options = kind.Defaults;
        PeftMetadata metadata = new() { InferenceMode = false, PeftVersion = null };
        Dictionary<string, JsonElement> kept = [];
        List<string> unknown = [];
        List<string> refused = [];
        foreach (JsonProperty property in root.EnumerateObject())
        {
            string name = property.Name;
            try
            {
                if (name == PeftKind.FieldName || Take(kind.Fields, ref options, property) || Take(MetadataFields.All, ref metadata, property))
                {
                    continue;
                }

                if (name != MetadataFields.AutoMapping)
                {
                    unknown.Add(name);
                }
                else if (property.Value.ValueKind == JsonValueKind.Null)
                {
                    continue;
                }

                kept.Add(name, property.Value);
            }
            catch (InvalidDataException e)
            {
                refused.Add(e.Message);
            }
        }

        if (refused.Count > 0)
        {
            throw new InvalidDataException(string.Join(' ', refused));
        }

        metadata = metadata with { AdditionalFields = kept };
        return new(options, metadata with { Source = new(text, root, options, metadata) }, unknown.AsReadOnly());
    }

    private static bool Take<T>(IReadOnlyList<PeftField<T>> fields, ref T target, JsonProperty property)
    {
        foreach (PeftField<T> field in fields)
        {
            if (property.NameEquals(field.Name))
            {
                target = field.ReadChecked(target, new(field.Name, property.Value));
                return true;
            }
        }

        return false;
    }
}
