using System.Globalization;
using System.Text;

namespace DoraSharp;

/// <summary>Decodes JSON strings without the buffer of their own size that the JSON reader takes for those with escapes.</summary>
internal static class JsonString
{
    private const int UnicodeEscape = 6;
    private const int ShortEscape = 2;

    /// <summary>Whether every half of a surrogate pair in a string's escapes has its other half.</summary>
    /// <param name="json">What is between the quotes: valid UTF-8, its escapes checked by a JSON reader.</param>
    public static bool IsWellFormed(ReadOnlySpan<byte> json)
    {
        bool open = false;
        while (json.IndexOf((byte)'\\') is >= 0 and int escape)
        {
            char letter = Unescape(json[escape..]);
            bool completes = open && escape == 0 && char.IsLowSurrogate(letter);
            if (!completes && (open || char.IsLowSurrogate(letter)))
            {
                return false;
            }

            open = char.IsHighSurrogate(letter);
            json = json[(escape + Length(json[escape..]))..];
        }

        return !open;
    }

    /// <summary>The text of a string.</summary>
    /// <param name="json">As for <see cref="IsWellFormed"/>.</param>
    public static string Decode(ReadOnlySpan<byte> json) =>
        string.Create(Copy(json, default, write: false), json, static (chars, json) => Copy(json, chars, write: true));

    private static int Copy(ReadOnlySpan<byte> json, Span<char> chars, bool write)
    {
        int count = 0;
        while (true)
        {
            int escape = json.IndexOf((byte)'\\');
            ReadOnlySpan<byte> plain = escape < 0 ? json : json[..escape];
            count += write ? Encoding.UTF8.GetChars(plain, chars[count..]) : Encoding.UTF8.GetCharCount(plain);
            if (escape < 0)
            {
                return count;
            }

            json = json[escape..];
            if (write)
            {
                chars[count] = Unescape(json);
            }

            count++;
            json = json[Length(json)..];
        }
    }

    private static int Length(ReadOnlySpan<byte> escape) => escape[1] == (byte)'u' ? UnicodeEscape : ShortEscape;

    private static char Unescape(ReadOnlySpan<byte> escape) => (char)escape[1] switch
    {
        'b' => '\b',
        'f' => '\f',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => (char)ushort.Parse(escape[ShortEscape..UnicodeEscape], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture),
        char other => other,
    };
}
