namespace DoraSharp;

/// <summary>Reads what stands in brackets: <c>[^a-z_\d]</c>.</summary>
internal static class SetParser
{
    private const string Classes = "dDsSwW";

    /// <summary>Whether the character behind a backslash names a class.</summary>
    public static bool IsClass(int name) => name is >= 0 and < 128 && Classes.Contains((char)name, StringComparison.Ordinal);

    /// <summary>Reads a set, behind its opening bracket, and its closing bracket.</summary>
    /// <exception cref="PatternSyntaxException">The set does not end, or a range is none.</exception>
    public static CharacterNode Read(PatternSource source, PatternFlags flags)
    {
        bool negated = source.TryRead('^');
        List<(int First, int Last)> ranges = [];
        List<char> classes = [];
        int start = source.Position;
        while (source.Position == start || source.Peek() != ']')
        {
            int? first = ReadItem(source, classes);
            if (!source.TryRead('-'))
            {
                AddCharacter(first);
                continue;
            }

            if (source.Peek() == ']')
            {
                AddCharacter(first);
                AddCharacter('-');
                continue;
            }

            int? last = ReadItem(source, classes);
            if (first is not { } low || last is not { } high || high < low)
            {
                throw source.Error("a range in brackets has no such ends");
            }

            ranges.Add((low, high));
        }

        source.Position++;
        return new CharacterNode(ranges, classes, negated, flags);

        void AddCharacter(int? character)
        {
            if (character is { } point)
            {
                ranges.Add((point, point));
            }
        }
    }

    /// <summary>Reads a character; or a class, which is added to the classes.</summary>
    private static int? ReadItem(PatternSource source, List<char> classes)
    {
        int point = source.Read("']'");
        if (point != '\\')
        {
            return point;
        }

        if (!IsClass(source.Peek()))
        {
            return PatternEscapes.ReadCharacter(source, inSet: true);
        }

        classes.Add((char)source.Read("a class"));
        return null;
    }
}
