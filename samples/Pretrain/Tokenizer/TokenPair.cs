namespace DoraSharp.Samples.Pretrain;

/// <summary>Two neighbouring tokens, by their place in the vocabulary.</summary>
internal readonly record struct TokenPair(int Left, int Right)
{
    /// <summary>Whether this pair is the lower of the two.</summary>
    public bool Precedes(TokenPair other) => (Left, Right).CompareTo((other.Left, other.Right)) < 0;
}
