using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace DoraSharp;

/// <summary>Writes JSON as Python's <c>json.dumps(…, indent=2)</c> does, so that files equal those that PEFT writes.</summary>
internal static class PythonJson
{
    /// <summary>The text of an object, its fields in the order they have.</summary>
    public static byte[] Serialize(JsonObject value)
    {
        using MemoryStream text = new();
        using (Utf8JsonWriter json = new(text, new JsonWriterOptions { Indented = true, IndentSize = 2, NewLine = "\n", Encoder = JsonTextEncoder.Python }))
        {
            value.WriteTo(json);
        }

        return text.ToArray();
    }

    /// <summary>A float as Python's <c>repr</c> writes it: 0.0, 0.05, 1e-05.</summary>
    public static JsonNode Float(double value) => Raw(Repr(value));

    /// <summary>A number that may be a Python int: without a fraction it is written as one.</summary>
    public static JsonNode Number(double value) =>
        double.IsInteger(value) && Math.Abs(value) < 1e15 ? JsonValue.Create((long)value) : Float(value);

    /// <summary>A value from a file, written back with its own numbers and order.</summary>
    public static JsonNode? Raw(JsonElement value) => JsonNode.Parse(value.GetRawText());

    private static JsonNode Raw(string json) => JsonNode.Parse(json)!;

    // Both languages write the fewest digits that give the same number back; where they turn to exponents differs.
    private static string Repr(double value)
    {
        string[] scientific = Math.Abs(value).ToString("R", CultureInfo.InvariantCulture).Split('E');
        string[] halves = scientific[0].Split('.');
        string all = string.Concat(halves);
        string digits = all.TrimStart('0');
        int point = halves[0].Length - (all.Length - digits.Length) + (scientific.Length > 1 ? int.Parse(scientific[1], CultureInfo.InvariantCulture) : 0);
        digits = digits.TrimEnd('0');
        string text = (digits, point) switch
        {
            ("", _) => "0.0",
            (_, < -3 or > 16) => $"{digits[0]}{(digits.Length > 1 ? "." : "")}{digits[1..]}e{(point > 0 ? '+' : '-')}{Math.Abs(point - 1):00}",
            (_, <= 0) => $"0.{new string('0', -point)}{digits}",
            _ when digits.Length <= point => digits.PadRight(point, '0') + ".0",
            _ => digits.Insert(point, "."),
        };
        return double.IsNegative(value) ? "-" + text : text;
    }
}
