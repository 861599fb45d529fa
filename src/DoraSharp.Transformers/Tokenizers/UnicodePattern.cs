using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace DoraSharp.Transformers;

/// <summary>A pattern of a <c>tokenizer.json</c>, matched on code points.</summary>
/// <remarks>
/// .NET's regular expressions see UTF-16 code units, so <c>\p{L}</c> would miss letters above U+FFFF. Such characters are matched
/// through a stand-in: one character of the same Unicode category from below U+10000.
/// </remarks>
internal sealed class UnicodePattern
{
    // A pattern from a file may need exponential time; no honest one comes near this.
    private static readonly TimeSpan LongestMatch = TimeSpan.FromSeconds(10);
    private static readonly Dictionary<UnicodeCategory, char> StandIns = FindStandIns();

    private readonly Regex regex;

    private UnicodePattern(Regex regex) => this.regex = regex;

    /// <summary>Reads <c>{"Regex": "…"}</c> or <c>{"String": "…"}</c>.</summary>
    public static UnicodePattern Read(JsonFields pattern)
    {
        string expression = pattern.OptionalText("Regex") ?? Regex.Escape(pattern.Text("String"));
        try
        {
            return new UnicodePattern(new Regex(expression, RegexOptions.CultureInvariant | RegexOptions.Compiled, LongestMatch));
        }
        catch (ArgumentException exception)
        {
            throw new NotSupportedException($"{pattern.Source}: .NET cannot run this pattern: {exception.Message}", exception);
        }
    }

    /// <summary>A pattern that no file brought.</summary>
    public static UnicodePattern Of(string expression) => new(new Regex(expression, RegexOptions.CultureInvariant | RegexOptions.Compiled, LongestMatch));

    public string Replace(string text, string replacement)
        => string.Concat(Pieces(text).Select(piece => piece.IsMatch ? replacement : piece.Text));

    /// <summary>The matches and what lies between them, in order; their concatenation is the text.</summary>
    public IEnumerable<(string Text, bool IsMatch)> Pieces(string text)
    {
        (string searched, int[]? positions) = Project(text);
        int end = 0;
        foreach (Match match in Matches(searched))
        {
            int start = At(positions, match.Index), next = At(positions, match.Index + match.Length);
            if (start > end)
            {
                yield return (text[end..start], false);
            }

            if (next > start)
            {
                yield return (text[start..next], true);
            }

            end = next;
        }

        if (end < text.Length)
        {
            yield return (text[end..], false);
        }
    }

    /// <summary>The character that matches in place of one above U+FFFF.</summary>
    internal static char StandIn(Rune rune) => StandIns[Rune.GetUnicodeCategory(rune)];

    private IEnumerable<Match> Matches(string text)
    {
        Match match = regex.Match(text);
        while (match.Success)
        {
            yield return match;
            match = match.NextMatch();
        }
    }

    private static int At(int[]? positions, int index) => positions is null ? index : positions[index];

    /// <summary>The text with every surrogate pair replaced by its stand-in, and where each character, and the end, was.</summary>
    private static (string Text, int[]? Positions) Project(string text)
    {
        if (!text.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF'))
        {
            return (text, null);
        }

        var projected = new StringBuilder(text.Length);
        var positions = new List<int>(text.Length + 1);
        int position = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            projected.Append(rune.IsBmp ? text[position] : StandIn(rune));
            positions.Add(position);
            position += rune.Utf16SequenceLength;
        }

        positions.Add(position);
        return (projected.ToString(), [.. positions]);
    }

    private static Dictionary<UnicodeCategory, char> FindStandIns()
    {
        // From the far end of the plane, so that no pattern has one of them as a literal.
        var found = new Dictionary<UnicodeCategory, char>();
        for (int code = 0xFFFF; code > 0xFF; code--)
        {
            found.TryAdd(char.GetUnicodeCategory((char)code), (char)code);
        }

        return found;
    }
}
