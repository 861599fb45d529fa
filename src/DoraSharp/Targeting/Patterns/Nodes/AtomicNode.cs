namespace DoraSharp;

/// <summary>A part that gives nothing back once it matched: <c>(?&gt;a)</c>, <c>a*+</c>.</summary>
internal sealed class AtomicNode(PatternNode part) : PatternNode(part.MinWidth, part.MaxWidth)
{
    /// <inheritdoc/>
    public override bool Match(MatchRun run, int at, Func<int, bool> next)
    {
        (int, int)?[] before = run.Snapshot();
        int end = -1;
        bool isThere = part.Match(run, at, found =>
        {
            end = found;
            return true;
        });
        if (isThere && next(end))
        {
            return true;
        }

        run.Restore(before);
        return false;
    }
}
