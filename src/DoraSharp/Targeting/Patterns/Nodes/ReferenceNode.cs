namespace DoraSharp;

/// <summary>What a group matched, once more: <c>\1</c>.</summary>
/// <param name="index">The group's number.</param>
/// <param name="group">The group.</param>
/// <param name="flags">The flags that hold here.</param>
internal sealed class ReferenceNode(int index, PatternNode group, PatternFlags flags) : PatternNode(group.MinWidth, group.MaxWidth)
{
    /// <inheritdoc/>
    public override bool Match(MatchRun run, int at, Func<int, bool> next)
    {
        run.Step();
        if (run.Groups[index] is not { } place || at + place.End - place.Start > run.Text.Length)
        {
            return false;
        }

        for (int i = place.Start; i < place.End; i++)
        {
            if (Folded(run.Text[i]) != Folded(run.Text[at + i - place.Start]))
            {
                return false;
            }
        }

        return next(at + place.End - place.Start);
    }

    private int Folded(int point) =>
        !flags.HasFlag(PatternFlags.IgnoreCase) ? point : flags.HasFlag(PatternFlags.Ascii) ? CaseFolding.FoldAscii(point) : CaseFolding.Fold(point);
}
