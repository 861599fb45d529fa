using System.Text.Json;
using System.Text.Json.Nodes;

namespace DoraSharp;

/// <summary>
/// The file that a configuration was read from, and what was understood of it. A field that still means what the file said
/// is written as the file had it: 8 or 8.0, a number or a list of one, in whatever order, or not at all. Where all of
/// them do, the file is written again byte for byte.
/// </summary>
/// <param name="Text">The whole file.</param>
/// <param name="Json">The file's object.</param>
/// <param name="Options">The options that were read.</param>
/// <param name="Metadata">The metadata that were read.</param>
internal sealed record PeftSource(byte[] Text, JsonElement Json, AdapterOptions Options, PeftMetadata Metadata)
{
    /// <summary>The text for fields that PEFT would write as given.</summary>
    public byte[] Write(SortedDictionary<string, JsonNode?> fields)
    {
        SortedDictionary<string, JsonNode?> read = PeftConfig.Fields(Options, Metadata);
        HashSet<string> same = [.. fields.Where(field => read.TryGetValue(field.Key, out JsonNode? value) && IsSame(field.Value, value)).Select(static field => field.Key)];
        if (same.Count == read.Count && same.Count == fields.Count)
        {
            return Text;
        }

        // A default that one kind of adapter leaves out is not the default of another.
        if (same.Contains(PeftKind.FieldName))
        {
            Restore(fields, same);
        }

        return PythonJson.Serialize(new JsonObject(fields));
    }

    private void Restore(SortedDictionary<string, JsonNode?> fields, HashSet<string> names)
    {
        foreach (string name in names)
        {
            if (Json.TryGetProperty(name, out JsonElement value))
            {
                fields[name] = PythonJson.Raw(value);
            }
            else
            {
                fields.Remove(name);
            }
        }
    }

    // Texts, not values, since the order of patterns counts.
    private static bool IsSame(JsonNode? a, JsonNode? b) => a?.ToJsonString() == b?.ToJsonString();
}
