using System.Globalization;

namespace DoraSharp;

/// <summary>Python's classes of characters: <c>\d</c>, <c>\s</c>, <c>\w</c> and their opposites.</summary>
internal static class CharacterClass
{
    /// <summary>Whether a character is of a class.</summary>
    /// <param name="name">The class's letter; a capital means the opposite.</param>
    /// <param name="point">The character.</param>
    /// <param name="ascii">Only ASCII characters are digits, spaces and letters: the flag <c>a</c>.</param>
    public static bool Contains(char name, int point, bool ascii)
    {
        bool isInside = (!ascii || point < 128) && char.ToLowerInvariant(name) switch
        {
            'd' => IsDigit(point),
            's' => IsSpace(point),
            _ => IsWord(point),
        };
        return isInside != char.IsUpper(name);
    }

    /// <summary>A letter, a number or the underscore: what <c>\b</c> looks for too.</summary>
    public static bool IsWord(int point) => point == '_' || CharUnicodeInfo.GetUnicodeCategory(point) is
        UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter or
        UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter or
        UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber;

    private static bool IsDigit(int point) => CharUnicodeInfo.GetUnicodeCategory(point) == UnicodeCategory.DecimalDigitNumber;

    // Python counts the four separators of ASCII as space, .NET does not.
    private static bool IsSpace(int point) =>
        point is >= 0x1c and <= 0x1f || (point <= char.MaxValue && char.IsWhiteSpace((char)point));
}
