namespace DoraSharp;

/// <summary>One part where a group took part in the match, another where not: <c>(?(1)a|b)</c>.</summary>
internal sealed class ConditionalNode(int group, PatternNode present, PatternNode absent)
    : PatternNode(Math.Min(present.MinWidth, absent.MinWidth), Math.Max(present.MaxWidth, absent.MaxWidth))
{
    /// <inheritdoc/>
    public override bool Match(MatchRun run, int at, Func<int, bool> next) =>
        (run.Groups[group] is null ? absent : present).Match(run, at, next);
}
