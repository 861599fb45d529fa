using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;

namespace DoraSharp;

/// <summary>
/// Escapes JSON texts exactly as the programs do whose files ours must equal byte for byte;
/// .NET's own encoders escape more, and in other letters.
/// </summary>
internal sealed class JsonTextEncoder : JavaScriptEncoder
{
    private const int LongestEscape = 12;
    private readonly bool asciiOnly;

    private JsonTextEncoder(bool asciiOnly) => this.asciiOnly = asciiOnly;

    /// <summary>As Rust's serde_json, which writes the headers of the reference safetensors library: only what JSON requires.</summary>
    public static JsonTextEncoder Minimal { get; } = new(asciiOnly: false);

    /// <summary>As Python's <c>json.dumps</c>: everything but printable ASCII, in lower-case hexadecimal.</summary>
    public static JsonTextEncoder Python { get; } = new(asciiOnly: true);

    /// <inheritdoc/>
    public override int MaxOutputCharactersPerInputCharacter => LongestEscape;

    /// <inheritdoc/>
    public override bool WillEncode(int unicodeScalar) =>
        unicodeScalar is '"' or '\\' or < ' ' || (asciiOnly && unicodeScalar > '~');

    /// <inheritdoc/>
    public override unsafe int FindFirstCharacterToEncode(char* text, int textLength)
    {
        for (int i = 0; i < textLength; i++)
        {
            if (WillEncode(text[i]))
            {
                return i;
            }
        }

        return -1;
    }

    /// <inheritdoc/>
    public override unsafe bool TryEncodeUnicodeScalar(int unicodeScalar, char* buffer, int bufferLength, out int numberOfCharactersWritten)
    {
        Span<char> output = new(buffer, bufferLength);
        Rune rune = new(unicodeScalar);
        if (!WillEncode(unicodeScalar))
        {
            return rune.TryEncodeToUtf16(output, out numberOfCharactersWritten);
        }

        string escape = unicodeScalar switch
        {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\b' => "\\b",
            '\f' => "\\f",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            _ => Hexadecimal(rune),
        };
        numberOfCharactersWritten = escape.TryCopyTo(output) ? escape.Length : 0;
        return numberOfCharactersWritten > 0;
    }

    private static string Hexadecimal(Rune rune) =>
        string.Concat(rune.ToString().Select(static unit => "\\u" + ((int)unit).ToString("x4", CultureInfo.InvariantCulture)));
}
