namespace DoraSharp;

/// <summary>A place: <c>^</c>, <c>$</c>, <c>\A</c>, <c>\Z</c>, <c>\b</c>, <c>\B</c>.</summary>
/// <param name="name">The character behind the backslash, or <c>^</c> or <c>$</c>.</param>
/// <param name="flags">The flags that hold here.</param>
internal sealed class AnchorNode(char name, PatternFlags flags) : PatternNode(0, 0)
{
    /// <inheritdoc/>
    public override bool Match(MatchRun run, int at, Func<int, bool> next)
    {
        run.Step();
        return Holds(run.Text, at) && next(at);
    }

    private bool Holds(int[] text, int at)
    {
        bool isMultiLine = flags.HasFlag(PatternFlags.MultiLine);
        return name switch
        {
            '^' => at == 0 || (isMultiLine && text[at - 1] == '\n'),
            '$' => at == text.Length || (text[at] == '\n' && (isMultiLine || at == text.Length - 1)),
            'A' => at == 0,
            'Z' => at == text.Length,
            'b' => IsBoundary(text, at),

            // Python finds neither a boundary nor its opposite in an empty text.
            _ => text.Length > 0 && !IsBoundary(text, at),
        };
    }

    private bool IsBoundary(int[] text, int at) => IsWord(text, at - 1) != IsWord(text, at);

    private bool IsWord(int[] text, int at) =>
        at >= 0 && at < text.Length && CharacterClass.Contains('w', text[at], flags.HasFlag(PatternFlags.Ascii));
}
