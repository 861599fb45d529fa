namespace DoraSharp;

/// <summary>One part after the other.</summary>
internal sealed class SequenceNode(IReadOnlyList<PatternNode> parts) : PatternNode(
    parts.Aggregate(0, static (sum, part) => Add(sum, part.MinWidth)),
    parts.Aggregate(0, static (sum, part) => Add(sum, part.MaxWidth)))
{
    /// <inheritdoc/>
    public override bool Match(MatchRun run, int at, Func<int, bool> next) => MatchFrom(run, 0, at, next);

    private bool MatchFrom(MatchRun run, int index, int at, Func<int, bool> next) =>
        index == parts.Count ? next(at) : parts[index].Match(run, at, end => MatchFrom(run, index + 1, end, next));
}
