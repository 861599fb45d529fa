namespace DoraSharp;

/// <summary>A part repeated: <c>a*</c>, <c>a{2,3}</c>, and lazily <c>a*?</c>.</summary>
/// <param name="part">What is repeated.</param>
/// <param name="min">The least number of times.</param>
/// <param name="max">The greatest number of times, or <see cref="PatternNode.Unbounded"/>.</param>
/// <param name="lazy">Whether few times are tried before many.</param>
internal sealed class RepeatNode(PatternNode part, int min, int max, bool lazy)
    : PatternNode(Multiply(part.MinWidth, min), part.MaxWidth == 0 ? 0 : Multiply(part.MaxWidth, max))
{
    /// <inheritdoc/>
    public override bool Match(MatchRun run, int at, Func<int, bool> next) => (part, lazy) switch
    {
        (CharacterNode characters, false) => MatchMany(run, characters, at, next),
        (_, true) => MatchFew(run, 0, at, next),
        _ => MatchAgain(run, 0, at, next),
    };

    /// <summary>The common case, such as <c>.*</c>, without a frame on the stack for every character.</summary>
    private bool MatchMany(MatchRun run, CharacterNode characters, int at, Func<int, bool> next)
    {
        int end = at;
        while (end < run.Text.Length && end - at < max && characters.Contains(run.Text[end]))
        {
            run.Step();
            end++;
        }

        for (; end - at >= min; end--)
        {
            run.Step();
            if (next(end))
            {
                return true;
            }
        }

        return false;
    }

    private bool MatchAgain(MatchRun run, int count, int at, Func<int, bool> next)
    {
        run.Step();
        return (count < max && part.Match(run, at, end => GoesOn(count, at, end) ? MatchAgain(run, Counted(count, at, end), end, next) : next(end)))
            || (count >= min && next(at));
    }

    private bool MatchFew(MatchRun run, int count, int at, Func<int, bool> next)
    {
        run.Step();
        return (count >= min && next(at))
            || (count < max && part.Match(run, at, end => GoesOn(count, at, end) ? MatchFew(run, Counted(count, at, end), end, next) : next(end)));
    }

    // A repetition that took no character would take none for ever: it counts as all that are still needed, and is the last.
    private bool GoesOn(int count, int at, int end) => end > at || count + 1 < min;

    private int Counted(int count, int at, int end) => end > at ? count + 1 : min;
}
