namespace DoraSharp;

/// <summary>A group whose place is kept: <c>(a)</c>.</summary>
internal sealed class GroupNode(PatternNode part, int index) : PatternNode(part.MinWidth, part.MaxWidth)
{
    /// <inheritdoc/>
    public override bool Match(MatchRun run, int at, Func<int, bool> next) => part.Match(run, at, end =>
    {
        (int, int)? before = run.Groups[index];
        run.Groups[index] = (at, end);
        if (next(end))
        {
            return true;
        }

        run.Groups[index] = before;
        return false;
    });
}
