namespace DoraSharp;

/// <summary>What a <c>MultiheadAttention</c> was made with. TorchSharp hands it to libtorch and cannot read it back.</summary>
public sealed record AttentionOptions
{
    /// <summary>The number of heads, a divisor of the attention's width.</summary>
    public required long Heads
    {
        get;
        init => field = value >= 1 ? value : throw new ArgumentOutOfRangeException(nameof(Heads), value, "An attention has 1 head or more.");
    }

    /// <summary>The probability with which an attention weight is dropped in training.</summary>
    /// <value>0 (the default) to 1.</value>
    public double Dropout
    {
        get;
        init => field = value is >= 0 and <= 1 ? value : throw new ArgumentOutOfRangeException(nameof(Dropout), value, "A dropout probability is in [0, 1].");
    }

    /// <summary>Whether a key and value of zeros follow the given ones: <c>add_zero_attn</c>.</summary>
    public bool AddZeroAttention { get; init; }
}
