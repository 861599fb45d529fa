namespace DoraSharp;

/// <summary>A look ahead or behind, which takes no character: <c>(?=a)</c>, <c>(?&lt;!a)</c>.</summary>
/// <param name="part">What is looked for; of one width where it is looked for behind.</param>
/// <param name="behind">Whether it must end here rather than begin.</param>
/// <param name="negated">Whether it must not be there.</param>
internal sealed class LookNode(PatternNode part, bool behind, bool negated) : PatternNode(0, 0)
{
    /// <inheritdoc/>
    public override bool Match(MatchRun run, int at, Func<int, bool> next)
    {
        run.Step();
        (int, int)?[] before = run.Snapshot();
        int start = behind ? at - part.MinWidth : at;
        bool isThere = start >= 0 && part.Match(run, start, end => !behind || end == at);
        if (negated)
        {
            run.Restore(before);
            return !isThere && next(at);
        }

        if (isThere && next(at))
        {
            return true;
        }

        run.Restore(before);
        return false;
    }
}
