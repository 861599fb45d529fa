using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The arguments of a call of a multi-head attention, in the order of its forward.</summary>
/// <param name="Query">The queries, [T, N, E].</param>
/// <param name="Key">The keys, [S, N, key width].</param>
/// <param name="Value">The values, [S, N, value width].</param>
/// <param name="KeyPaddingMask">Bool [N, S], true at keys to leave out; or null.</param>
/// <param name="NeedWeights">Whether the attention weights are asked for.</param>
/// <param name="AttentionMask">
/// What is added to the scores, [T, S] or [N·heads, T, S], or null. libtorch adds a bool mask too, as 0 and 1: true
/// leaves nothing out. It refuses three dimensions; this library does not.
/// </param>
internal readonly record struct AttentionInput(Tensor Query, Tensor Key, Tensor Value, Tensor? KeyPaddingMask, bool NeedWeights, Tensor? AttentionMask)
{
    /// <summary>Checks the shapes against a layer's.</summary>
    /// <exception cref="ArgumentException">A shape or dtype does not fit.</exception>
    public void Check(AttentionTraits traits)
    {
        ArgumentNullException.ThrowIfNull(Query);
        ArgumentNullException.ThrowIfNull(Key);
        ArgumentNullException.ThrowIfNull(Value);
        if (Query.dim() != 3 || Query.shape[2] != traits.EmbedDim)
        {
            throw Unfit(nameof(Query), Query, $"[T, N, {traits.EmbedDim}]");
        }

        long batch = Query.shape[1];
        if (Key.dim() != 3 || Key.shape[1] != batch || Key.shape[2] != traits.KeyDim)
        {
            throw Unfit(nameof(Key), Key, $"[S, {batch}, {traits.KeyDim}]");
        }

        long keys = Key.shape[0];
        CheckShape(nameof(Value), Value, [keys, batch, traits.ValueDim]);
        if (KeyPaddingMask is not null)
        {
            CheckShape(nameof(KeyPaddingMask), KeyPaddingMask, [batch, keys]);
            if (KeyPaddingMask.dtype != ScalarType.Bool)
            {
                throw Unfit(nameof(KeyPaddingMask), KeyPaddingMask, "a bool tensor");
            }
        }

        if (AttentionMask is not null)
        {
            long queries = Query.shape[0];
            CheckShape(nameof(AttentionMask), AttentionMask, AttentionMask.dim() == 3 ? [batch * traits.Heads, queries, keys] : [queries, keys]);
        }
    }

    /// <summary>The same with queries, keys and values that lie in memory one after the other; those that were one tensor are one.</summary>
    public AttentionInput Contiguous()
    {
        Tensor query = Query.contiguous();
        Tensor key = ReferenceEquals(Key, Query) ? query : Key.contiguous();
        return this with { Query = query, Key = key, Value = ReferenceEquals(Value, Key) ? key : Value.contiguous() };
    }

    private static void CheckShape(string name, Tensor tensor, long[] expected)
    {
        if (!tensor.shape.SequenceEqual(expected))
        {
            throw Unfit(name, tensor, $"[{string.Join(", ", expected)}]");
        }
    }

    private static ArgumentException Unfit(string name, Tensor tensor, string expected) =>
        new($"{name} must be {expected}; it is [{string.Join(", ", tensor.shape)}] of {tensor.dtype}.", name);
}
