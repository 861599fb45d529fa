namespace DoraSharp;

/// <summary>One character of a set: a literal, a class, the dot, or what stands in brackets.</summary>
internal sealed class CharacterNode : PatternNode
{
    private readonly List<(int First, int Last)> ranges;
    private readonly List<char> classes;
    private readonly bool negated;
    private readonly bool ascii;
    private readonly bool ignoresCase;

    /// <summary>A set.</summary>
    /// <param name="ranges">Ranges of characters, both ends included.</param>
    /// <param name="classes">Letters of classes, such as <c>d</c>.</param>
    /// <param name="negated">Whether every other character is meant.</param>
    /// <param name="flags">The flags that hold here.</param>
    public CharacterNode(List<(int First, int Last)> ranges, List<char> classes, bool negated, PatternFlags flags)
        : base(1, 1)
    {
        this.ranges = ranges;
        this.classes = classes;
        this.negated = negated;
        ascii = flags.HasFlag(PatternFlags.Ascii);
        ignoresCase = flags.HasFlag(PatternFlags.IgnoreCase);
    }

    /// <summary>Whether a character is in the set.</summary>
    public bool Contains(int point)
    {
        bool isInside = !ignoresCase
            ? IsListed(point)
            : (ascii ? CaseFolding.AsciiVariants(point) : CaseFolding.Variants(point)).Any(IsListed);
        return isInside != negated;
    }

    /// <inheritdoc/>
    public override bool Match(MatchRun run, int at, Func<int, bool> next)
    {
        run.Step();
        return at < run.Text.Length && Contains(run.Text[at]) && next(at + 1);
    }

    private bool IsListed(int point)
    {
        foreach ((int first, int last) in ranges)
        {
            if (point >= first && point <= last)
            {
                return true;
            }
        }

        foreach (char name in classes)
        {
            if (CharacterClass.Contains(name, point, ascii))
            {
                return true;
            }
        }

        return false;
    }
}
