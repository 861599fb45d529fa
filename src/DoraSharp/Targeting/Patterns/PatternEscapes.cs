namespace DoraSharp;

/// <summary>The escapes that mean one character, inside and outside of brackets.</summary>
internal static class PatternEscapes
{
    /// <summary>Reads what follows a backslash and stands for a single character.</summary>
    /// <param name="source">The pattern, behind the backslash.</param>
    /// <param name="inSet">Whether it stands in brackets, where <c>\b</c> is a backspace.</param>
    /// <exception cref="PatternSyntaxException">Python knows no such escape.</exception>
    public static int ReadCharacter(PatternSource source, bool inSet)
    {
        int start = source.Position;
        int name = source.Read("an escaped character");
        switch (name)
        {
            case 'a': return '\a';
            case 'b' when inSet: return '\b';
            case 'f': return '\f';
            case 'n': return '\n';
            case 'r': return '\r';
            case 't': return '\t';
            case 'v': return '\v';
            case 'x': return Hexadecimal(source, 2);
            case 'u': return Hexadecimal(source, 4);
            case 'U': return Hexadecimal(source, 8);
            case >= '0' and <= '7':
                source.Position = start;
                int value = source.ReadDigits(8, 3);
                return value <= 0xff ? value : throw source.Error("an octal escape is above 0o377");
            case '8' or '9':
            case (>= 'a' and <= 'z') or (>= 'A' and <= 'Z'):
                throw new PatternSyntaxException($"\\{(char)name} is no escape", start);
            default:
                return name;
        }
    }

    private static int Hexadecimal(PatternSource source, int length)
    {
        int start = source.Position;
        int value = source.ReadDigits(16, length);
        return source.Position - start == length && value is >= 0 and <= 0x10ffff
            ? value
            : throw source.Error($"an escape needs {length} hexadecimal digits of a character");
    }
}
