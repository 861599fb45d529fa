using System.Globalization;

namespace DoraSharp;

/// <summary>A pattern's characters, read one after the other.</summary>
internal sealed class PatternSource(string pattern)
{
    private readonly int[] points = CodePoints.Of(pattern);

    /// <summary>The index of the next character.</summary>
    public int Position { get; set; }

    /// <summary>Whether all characters are read.</summary>
    public bool IsAtEnd => Position == points.Length;

    /// <summary>The next character, left where it is; -1 at the end.</summary>
    public int Peek() => IsAtEnd ? -1 : points[Position];

    /// <summary>Reads a character.</summary>
    /// <exception cref="PatternSyntaxException">The pattern ends.</exception>
    public int Read(string expected) => IsAtEnd ? throw Error($"the pattern ends where {expected} is expected") : points[Position++];

    /// <summary>Reads a character if it is the one asked for.</summary>
    public bool TryRead(char character)
    {
        if (Peek() != character)
        {
            return false;
        }

        Position++;
        return true;
    }

    /// <summary>Reads up to a character, and that too.</summary>
    /// <exception cref="PatternSyntaxException">There is no such character, or nothing before it.</exception>
    public string ReadUntil(char end, string what)
    {
        int start = Position;
        int found = Array.IndexOf(points, end, start);
        if (found < 0 || found == start)
        {
            throw Error(found < 0 ? $"{what} lacks its '{end}'" : $"{what} is empty");
        }

        Position = found + 1;
        return CodePoints.ToText(points.AsSpan(start, found - start));
    }

    /// <summary>Reads a number of decimal digits of ASCII; -1 where there is none.</summary>
    /// <exception cref="PatternSyntaxException">The number is too great.</exception>
    public int ReadNumber()
    {
        int start = Position;
        while (Peek() is >= '0' and <= '9')
        {
            Position++;
        }

        if (Position == start)
        {
            return -1;
        }

        string digits = CodePoints.ToText(points.AsSpan(start, Position - start));
        return int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number < PatternNode.Unbounded
            ? number
            : throw Error($"the number {digits} is too great");
    }

    /// <summary>Reads up to a number of digits of a base that is at most 16; -1 where there is none.</summary>
    public int ReadDigits(int radix, int most)
    {
        int value = -1;
        for (int i = 0; i < most && Peek() is >= 0 and < 128 && char.IsAsciiHexDigit((char)Peek()); i++)
        {
            int digit = Convert.ToInt32(((char)Peek()).ToString(), 16);
            if (digit >= radix)
            {
                break;
            }

            value = (Math.Max(value, 0) * radix) + digit;
            Position++;
        }

        return value;
    }

    /// <summary>An error at the current place.</summary>
    public PatternSyntaxException Error(string what) => new(what, Position);
}
