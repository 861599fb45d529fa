using TorchSharp.Modules;

namespace DoraSharp;

/// <summary>The options of a multi-head attention. TorchSharp passes them to libtorch and cannot read them back.</summary>
internal sealed record AttentionTraits
{
    /// <summary>The width of queries and outputs, E.</summary>
    public required long EmbedDim { get; init; }

    /// <summary>The number of heads, a divisor of E.</summary>
    public required long Heads
    {
        get;
        init => field = value > 0 && EmbedDim % value == 0
            ? value
            : throw new ArgumentOutOfRangeException(nameof(Heads), value, $"The number of heads must divide the width {EmbedDim}.");
    }

    /// <summary>The width of keys.</summary>
    public required long KeyDim { get; init; }

    /// <summary>The width of values.</summary>
    public required long ValueDim { get; init; }

    /// <summary>Whether the projections have biases.</summary>
    public required bool HasBias { get; init; }

    /// <summary>The probability with which an attention weight is dropped in training, in [0, 1].</summary>
    public required double Dropout
    {
        get;
        init => field = value is >= 0 and <= 1
            ? value
            : throw new ArgumentOutOfRangeException(nameof(Dropout), value, "A dropout probability is in [0, 1].");
    }

    /// <summary>Whether a learnt key and value follow the given ones.</summary>
    public required bool HasBiasKv { get; init; }

    /// <summary>Whether a key and value of zeros follow the given ones.</summary>
    public required bool AddZeroAttention { get; init; }

    /// <summary>A layer's options where they are known.</summary>
    /// <param name="weights">The layer's parameters, whose shapes tell the rest.</param>
    /// <param name="options">What the layer was made with.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number of heads does not divide the width.</exception>
    public static AttentionTraits From(AttentionWeights weights, AttentionOptions options)
    {
        long width = weights.OutProjection.shape[0];
        return new()
        {
            EmbedDim = width,
            Heads = options.Heads,
            KeyDim = weights.KeyProjection?.shape[1] ?? width,
            ValueDim = weights.ValueProjection?.shape[1] ?? width,
            HasBias = weights.InBias is not null,
            Dropout = options.Dropout,
            HasBiasKv = weights.LearntKey is not null,
            AddZeroAttention = options.AddZeroAttention,
        };
    }

    /// <summary>Finds a layer's options by its parameters' shapes and by what it answers.</summary>
    /// <remarks>
    /// Its parameters are only read. Its training flag and the CPU's random numbers are given back as they were; the
    /// numbers of another device's generator are drawn on if the layer has dropout, for TorchSharp cannot set them back.
    /// The dropout is known to the precision of the layer's dtype: below 0.005, bfloat16 may show it as 0.
    /// </remarks>
    /// <exception cref="NotSupportedException">
    /// The layer's options cannot be seen: libtorch's forward fails wherever the widths of keys and values differ, and an
    /// imprecise dtype can hide the dropout of many heads. Then the traits must be given.
    /// </exception>
    public static AttentionTraits Of(MultiheadAttention layer) => new AttentionProbe(layer).Traits();
}
