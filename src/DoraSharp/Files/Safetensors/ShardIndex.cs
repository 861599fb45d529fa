using System.Text;
using System.Text.Json;

namespace DoraSharp;

/// <summary>Reads the index of a checkpoint in several files: which tensor is in which.</summary>
internal static class ShardIndex
{
    // As for a header: a model with a million tensors has an index of some 100 MB.
    private const long MaxLength = SafetensorsHeader.MaxLength;

    /// <summary>The shard of each tensor.</summary>
    /// <param name="path">The index.</param>
    /// <exception cref="InvalidDataException">The file is no such index.</exception>
    public static Dictionary<string, string> Read(string path)
    {
        long length = new FileInfo(path).Length;
        if (length > MaxLength)
        {
            throw new InvalidDataException($"{path} has {length} bytes; an index has at most {MaxLength}.");
        }

        ReadOnlySpan<byte> text = File.ReadAllBytes(path);
        if (text.StartsWith(Encoding.UTF8.Preamble))
        {
            text = text[Encoding.UTF8.Preamble.Length..];
        }

        try
        {
            JsonElement root = JsonElement.Parse(text, new JsonDocumentOptions { AllowDuplicateProperties = false });
            JsonText.CheckAll(root);
            if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty("weight_map", out JsonElement map) || map.ValueKind != JsonValueKind.Object)
            {
                throw new InvalidDataException($"{path} lacks 'weight_map', an object with the file of each tensor.");
            }

            return map.EnumerateObject().ToDictionary(
                static entry => entry.Name,
                entry => entry.Value.ValueKind == JsonValueKind.String
                    ? entry.Value.GetString()!
                    : throw new InvalidDataException($"{path}: weight_map: '{entry.Name}' is {Shown(entry.Value)}; it must be the name of a file."),
                StringComparer.Ordinal);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new InvalidDataException($"{path} is not valid JSON: {e.Message}", e);
        }
    }

    private static string Shown(JsonElement value) => value.GetRawText() is { Length: > 60 } text ? text[..60] + "…" : value.GetRawText();
}
