namespace DoraSharp;

/// <summary>One branch or another: <c>a|b</c>.</summary>
internal sealed class AlternationNode(IReadOnlyList<PatternNode> branches)
    : PatternNode(branches.Min(static branch => branch.MinWidth), branches.Max(static branch => branch.MaxWidth))
{
    /// <inheritdoc/>
    public override bool Match(MatchRun run, int at, Func<int, bool> next)
    {
        run.Step();
        foreach (PatternNode branch in branches)
        {
            if (branch.Match(run, at, next))
            {
                return true;
            }
        }

        return false;
    }
}
