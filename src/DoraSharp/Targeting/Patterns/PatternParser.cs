using System.Runtime.CompilerServices;

namespace DoraSharp;

/// <summary>Reads a regular expression in the syntax of Python's <c>re</c> (3.11).</summary>
/// <remarks>See https://docs.python.org/3/library/re.html. <c>\N{...}</c> is not known.</remarks>
internal sealed class PatternParser
{
    private readonly PatternSource source;
    private readonly PatternGroups groups = new();
    private PatternFlags global;

    private PatternParser(string pattern) => source = new PatternSource(pattern);

    /// <summary>Reads a pattern.</summary>
    /// <returns>Its tree and the number of its groups, the whole match included.</returns>
    /// <exception cref="PatternSyntaxException">It is no regular expression.</exception>
    public static (PatternNode Root, int GroupCount) Parse(string pattern)
    {
        try
        {
            PatternParser parser = new(pattern);
            parser.ReadGlobalFlags();
            PatternNode root = parser.ReadAlternation(parser.global);
            parser.groups.CheckConditions(parser.source);
            return parser.source.IsAtEnd ? (root, parser.groups.Count) : throw parser.source.Error("')' closes no group");
        }
        catch (InsufficientExecutionStackException e)
        {
            throw new PatternSyntaxException("it nests too deep", e);
        }
    }

    // Flags for the whole pattern may only stand at its start; anywhere else (?i) is an error, and (?i:...) is not.
    private void ReadGlobalFlags()
    {
        while (true)
        {
            SkipIgnored(global);
            int start = source.Position;
            if (!source.TryRead('(') || !source.TryRead('?') || ReadFlagLetters() is not { } flags || flags == PatternFlags.None || !source.TryRead(')'))
            {
                source.Position = start;
                return;
            }

            global |= flags;
        }
    }

    private PatternNode ReadAlternation(PatternFlags flags)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        List<PatternNode> branches = [ReadSequence(flags)];
        while (source.TryRead('|'))
        {
            branches.Add(ReadSequence(flags));
        }

        return branches.Count == 1 ? branches[0] : new AlternationNode(branches);
    }

    private SequenceNode ReadSequence(PatternFlags flags)
    {
        List<PatternNode> parts = [];
        while (true)
        {
            SkipIgnored(flags);
            if (source.Peek() is -1 or '|' or ')')
            {
                return new SequenceNode(parts);
            }

            parts.Add(ReadQuantifier(ReadAtom(flags), flags));
        }
    }

    /// <summary>Reads what a quantifier can follow.</summary>
    private PatternNode ReadAtom(PatternFlags flags)
    {
        int start = source.Position;
        int point = source.Read("a character");
        switch (point)
        {
            case '(':
                return ReadGroup(flags);
            case '[':
                return SetParser.Read(source, flags);
            case '.':
                return new CharacterNode(flags.HasFlag(PatternFlags.DotAll) ? [] : [('\n', '\n')], [], negated: true, flags);
            case '^' or '$':
                return new AnchorNode((char)point, flags);
            case '\\':
                return ReadEscape(flags);
            case '*' or '+' or '?':
                throw new PatternSyntaxException("there is nothing to repeat", start);
            case '{':
                source.Position = start;
                if (ReadCounts(flags) is not null)
                {
                    throw new PatternSyntaxException("there is nothing to repeat", start);
                }

                source.Position = start + 1;
                return Literal(point, flags);
            default:
                return Literal(point, flags);
        }
    }

    private PatternNode ReadQuantifier(PatternNode atom, PatternFlags flags)
    {
        int start = source.Position;
        if (ReadCounts(flags) is not { } counts)
        {
            return atom;
        }

        if (atom is AnchorNode)
        {
            throw new PatternSyntaxException("there is nothing to repeat", start);
        }

        bool lazy = source.TryRead('?');
        bool possessive = !lazy && source.TryRead('+');
        int end = source.Position;
        if (ReadCounts(flags) is not null)
        {
            throw new PatternSyntaxException("a repetition is repeated", end);
        }

        PatternNode repeated = new RepeatNode(atom, counts.Min, counts.Max, lazy);
        return possessive ? new AtomicNode(repeated) : repeated;
    }

    /// <summary>Reads <c>*</c>, <c>+</c>, <c>?</c>, <c>{m,n}</c>; nothing where none of them follows.</summary>
    private (int Min, int Max)? ReadCounts(PatternFlags flags)
    {
        SkipIgnored(flags);
        int start = source.Position;
        if (source.TryRead('*'))
        {
            return (0, PatternNode.Unbounded);
        }

        if (source.TryRead('+'))
        {
            return (1, PatternNode.Unbounded);
        }

        if (source.TryRead('?'))
        {
            return (0, 1);
        }

        if (!source.TryRead('{'))
        {
            return null;
        }

        int min = source.ReadNumber();
        bool hasComma = source.TryRead(',');
        int max = hasComma ? source.ReadNumber() : min;
        if ((min < 0 && !hasComma) || !source.TryRead('}'))
        {
            // Braces that hold no counts are literal text.
            source.Position = start;
            return null;
        }

        (int Min, int Max) counts = (Math.Max(min, 0), max < 0 ? PatternNode.Unbounded : max);
        return counts.Min <= counts.Max ? counts : throw new PatternSyntaxException("the least count is above the greatest", start);
    }

    private PatternNode ReadEscape(PatternFlags flags)
    {
        int start = source.Position;
        int name = source.Peek();
        if (SetParser.IsClass(name))
        {
            source.Position++;
            return new CharacterNode([], [(char)name], negated: false, flags);
        }

        if (name is 'A' or 'Z' or 'b' or 'B')
        {
            source.Position++;
            return new AnchorNode((char)name, flags);
        }

        if (name is >= '1' and <= '9' && !IsOctal(start))
        {
            int number = source.ReadDigits(10, 2);
            return new ReferenceNode(number, groups.Closed(number, source), flags);
        }

        return Literal(PatternEscapes.ReadCharacter(source, inSet: false), flags);
    }

    /// <summary>Three octal digits are a character, not a reference.</summary>
    private bool IsOctal(int start)
    {
        source.ReadDigits(8, 3);
        bool isOctal = source.Position - start == 3;
        source.Position = start;
        return isOctal;
    }

    private PatternNode ReadGroup(PatternFlags flags)
    {
        if (!source.TryRead('?'))
        {
            return ReadNumbered(null, flags);
        }

        int start = source.Position;
        switch (source.Read("what kind of group it is"))
        {
            case ':':
                return Closed(ReadAlternation(flags));
            case '>':
                return new AtomicNode(Closed(ReadAlternation(flags)));
            case 'P':
                return ReadNamed(flags);
            case '=':
                return new LookNode(Closed(ReadAlternation(flags)), behind: false, negated: false);
            case '!':
                return new LookNode(Closed(ReadAlternation(flags)), behind: false, negated: true);
            case '<' when source.TryRead('='):
                return ReadLookBehind(negated: false, flags);
            case '<' when source.TryRead('!'):
                return ReadLookBehind(negated: true, flags);
            case '(':
                return ReadConditional(flags);
            default:
                source.Position = start;
                return ReadFlagged(flags);
        }
    }

    private GroupNode ReadNumbered(string? name, PatternFlags flags)
    {
        int index = groups.Open(name, source);
        GroupNode group = new(Closed(ReadAlternation(flags)), index);
        groups.Close(index, group);
        return group;
    }

    private PatternNode ReadNamed(PatternFlags flags)
    {
        if (source.TryRead('='))
        {
            string reference = source.ReadUntil(')', "a reference's name");
            int index = groups.Find(reference, source);
            return new ReferenceNode(index, groups.Closed(index, source), flags);
        }

        return source.TryRead('<')
            ? ReadNumbered(source.ReadUntil('>', "a group's name"), flags)
            : throw source.Error("(?P must be followed by '<' or '='");
    }

    private LookNode ReadLookBehind(bool negated, PatternFlags flags)
    {
        PatternNode part = Closed(ReadAlternation(flags));
        return part.MinWidth == part.MaxWidth
            ? new LookNode(part, behind: true, negated)
            : throw source.Error("what is looked for behind has no fixed width");
    }

    private ConditionalNode ReadConditional(PatternFlags flags)
    {
        int index = groups.FindForCondition(source.ReadUntil(')', "a condition"), source);
        SequenceNode present = ReadSequence(flags);
        SequenceNode absent = source.TryRead('|') ? ReadSequence(flags) : new SequenceNode([]);
        return source.Peek() == '|' ? throw source.Error("a condition has more than two branches") : Closed(new ConditionalNode(index, present, absent));
    }

    /// <summary>Reads <c>(?i-m:...)</c>.</summary>
    private PatternNode ReadFlagged(PatternFlags flags)
    {
        PatternFlags on = ReadFlagLetters() ?? throw source.Error("no group begins like this");
        PatternFlags off = PatternFlags.None;
        if (source.TryRead('-'))
        {
            off = ReadFlagLetters() is { } letters and not PatternFlags.None ? letters : throw source.Error("'-' names no flag");
        }

        if (source.Peek() == ')')
        {
            throw source.Error("flags for the whole pattern do not stand at its start");
        }

        const PatternFlags kinds = PatternFlags.Ascii | PatternFlags.Unicode;
        if (!source.TryRead(':') || (on | off) == PatternFlags.None || (on & off) != PatternFlags.None || (off & kinds) != PatternFlags.None)
        {
            throw source.Error("a group's flags are none, contradict each other or lack their ':'");
        }

        // Naming one kind of characters leaves the other.
        PatternFlags kept = (on & kinds) == PatternFlags.None ? flags : flags & ~kinds;
        return Closed(ReadAlternation((kept | on) & ~off));
    }

    /// <summary>Reads the letters of flags; nothing where a character follows that is neither a flag nor ends them.</summary>
    private PatternFlags? ReadFlagLetters()
    {
        PatternFlags flags = PatternFlags.None;
        while (true)
        {
            switch (source.Peek())
            {
                case 'a': flags |= PatternFlags.Ascii; break;
                case 'i': flags |= PatternFlags.IgnoreCase; break;
                case 'm': flags |= PatternFlags.MultiLine; break;
                case 's': flags |= PatternFlags.DotAll; break;
                case 'u': flags |= PatternFlags.Unicode; break;
                case 'x': flags |= PatternFlags.Verbose; break;
                case ')' or ':' or '-':
                    return flags.HasFlag(PatternFlags.Ascii | PatternFlags.Unicode) ? throw source.Error("the flags a and u contradict each other") : flags;
                default:
                    return null;
            }

            source.Position++;
        }
    }

    private T Closed<T>(T node) =>
        source.TryRead(')') ? node : throw source.Error("a group is not closed by ')'");

    /// <summary>Skips comments in groups, and in the verbose syntax spaces and comments of lines.</summary>
    private void SkipIgnored(PatternFlags flags)
    {
        while (true)
        {
            int start = source.Position;
            if (source.TryRead('(') && source.TryRead('?') && source.TryRead('#'))
            {
                SkipPast(')');
                continue;
            }

            source.Position = start;
            if (!flags.HasFlag(PatternFlags.Verbose) || source.Peek() is not (' ' or '\t' or '\n' or '\r' or '\f' or '\v' or '#'))
            {
                return;
            }

            if (source.Read("a comment") == '#')
            {
                SkipLine();
            }
        }
    }

    private void SkipPast(char end)
    {
        while (source.Read($"'{end}'") != end)
        {
        }
    }

    private void SkipLine()
    {
        while (!source.IsAtEnd && source.Read("a comment") != '\n')
        {
        }
    }

    private static CharacterNode Literal(int point, PatternFlags flags) => new([(point, point)], [], negated: false, flags);
}
