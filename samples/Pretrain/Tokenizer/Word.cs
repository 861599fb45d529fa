namespace DoraSharp.Samples.Pretrain;

/// <summary>A distinct word of the corpus, as the tokens it is made of so far.</summary>
internal sealed class Word(List<int> tokens, long count)
{
    /// <summary>How often the corpus has it.</summary>
    public long Count { get; } = count;

    /// <summary>Its neighbouring tokens, from left to right.</summary>
    public IEnumerable<TokenPair> Pairs => Enumerable.Range(1, Math.Max(0, tokens.Count - 1)).Select(i => new TokenPair(tokens[i - 1], tokens[i]));

    /// <summary>Replaces the pair by one token wherever it stands.</summary>
    public void Merge(TokenPair pair, int merged)
    {
        for (int i = 0; i + 1 < tokens.Count; i++)
        {
            if (tokens[i] == pair.Left && tokens[i + 1] == pair.Right)
            {
                tokens[i] = merged;
                tokens.RemoveAt(i + 1);
            }
        }
    }
}
