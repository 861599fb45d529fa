namespace DoraSharp;

/// <summary>A part of a regular expression. It matches at a place and hands every end that it finds to what follows.</summary>
/// <param name="minWidth">The least number of characters that it takes.</param>
/// <param name="maxWidth">The greatest number, or <see cref="Unbounded"/>.</param>
internal abstract class PatternNode(int minWidth, int maxWidth)
{
    /// <summary>A length that stands for no limit.</summary>
    public const int Unbounded = int.MaxValue;

    /// <summary>The least number of characters that it takes.</summary>
    public int MinWidth => minWidth;

    /// <summary>The greatest number of characters that it takes, or <see cref="Unbounded"/>.</summary>
    public int MaxWidth => maxWidth;

    /// <summary>Matches at a place.</summary>
    /// <param name="run">The attempt; its groups are left as they were where the answer is no.</param>
    /// <param name="at">The index of the first character.</param>
    /// <param name="next">What follows: it gets the index behind the match and says whether the rest matches too.</param>
    public abstract bool Match(MatchRun run, int at, Func<int, bool> next);

    /// <summary>A sum of lengths that stays at <see cref="Unbounded"/>.</summary>
    protected static int Add(int a, int b) => (int)Math.Min((long)a + b, Unbounded);

    /// <summary>A product of lengths that stays at <see cref="Unbounded"/>.</summary>
    protected static int Multiply(int a, int b) => (int)Math.Min((long)a * b, Unbounded);
}
