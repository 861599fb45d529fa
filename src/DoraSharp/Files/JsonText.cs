using System.Text.Json;

namespace DoraSharp;

/// <summary>Looks for texts in a JSON document that the parser lets pass.</summary>
internal static class JsonText
{
    /// <summary>Reads every name and string once: they are decoded only when asked for, and would fail then.</summary>
    /// <exception cref="InvalidOperationException">A text is no valid UTF-8, or holds half a surrogate pair.</exception>
    public static void CheckAll(JsonElement element)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.String:
                _ = element.GetString();
                break;
            case JsonValueKind.Array:
                foreach (JsonElement item in element.EnumerateArray())
                {
                    CheckAll(item);
                }

                break;
            case JsonValueKind.Object:
                foreach (JsonProperty property in element.EnumerateObject())
                {
                    _ = property.Name;
                    CheckAll(property.Value);
                }

                break;
        }
    }
}
