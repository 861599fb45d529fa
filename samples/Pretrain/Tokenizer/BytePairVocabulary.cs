namespace DoraSharp.Samples.Pretrain;

/// <summary>A byte-level BPE vocabulary.</summary>
/// <param name="Special">The tokens that text never turns into; their ids come first.</param>
/// <param name="Tokens">The ordinary tokens, in the order of their ids: the 256 bytes, then one for each merge.</param>
/// <param name="Merges">The pairs to merge, the first learned first.</param>
public sealed record BytePairVocabulary(
    IReadOnlyList<string> Special, IReadOnlyList<string> Tokens, IReadOnlyList<(string Left, string Right)> Merges)
{
    /// <summary>The number of ids.</summary>
    public int Count => Special.Count + Tokens.Count;
}
