using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// The forward of TorchSharp's <see cref="TorchSharp.Modules.MultiheadAttention"/> on any weights, with gradients to
/// all of them. The native layer runs on its own parameters alone.
/// </summary>
/// <remarks>
/// The operations are libtorch's, in its order, so that the same weights give the same output and the same random
/// numbers the same dropout. Vaswani et al. 2017, arXiv 1706.03762, section 3.2.2. Where libtorch refuses (unequal
/// widths of keys and values, a mask per head, a key padding mask in half precision), this follows PyTorch's Python layer.
/// </remarks>
internal static class AttentionForward
{
    /// <summary>The whole forward.</summary>
    /// <param name="input">The arguments of the call.</param>
    /// <param name="weights">What to run on.</param>
    /// <param name="traits">The layer's options.</param>
    /// <param name="training">Whether attention weights are dropped.</param>
    /// <returns>
    /// The output [T, N, E] and the attention weights [N, T, S + extra keys], averaged over the heads and as dropped;
    /// where they are not needed, an invalid tensor as TorchSharp returns.
    /// </returns>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static Tuple<Tensor, Tensor> Run(AttentionInput input, AttentionWeights weights, AttentionTraits traits, bool training)
    {
        using var scope = NewDisposeScope();
        input.Check(traits);
        (Tensor q, Tensor k, Tensor v) = Project(input, weights);
        (Tensor context, Tensor attention) = Attend(q, k, v, input, weights, traits, training);
        Tensor output = nn.functional.linear(context, weights.OutProjection, weights.OutBias);
        return Tuple.Create(output.MoveToOuterDisposeScope(), attention.MoveToOuterDisposeScope());
    }

    /// <summary>Queries, keys and values in the width E.</summary>
    /// <returns>[T, N, E], [S, N, E], [S, N, E].</returns>
    public static (Tensor Query, Tensor Key, Tensor Value) Project(AttentionInput input, AttentionWeights weights)
    {
        using var scope = NewDisposeScope();
        (Tensor query, Tensor key, Tensor value) = (input.Query, input.Key, input.Value);
        (Tensor, Tensor, Tensor) projected;
        if (weights.InProjection is not { } fused)
        {
            Tensor?[] biases = Chunks(weights.InBias, 3);
            projected = (
                nn.functional.linear(query, weights.QueryProjection!, biases[0]),
                nn.functional.linear(key, weights.KeyProjection!, biases[1]),
                nn.functional.linear(value, weights.ValueProjection!, biases[2]));
        }
        else if (ReferenceEquals(query, key) && ReferenceEquals(key, value))
        {
            Tensor[] all = nn.functional.linear(query, fused, weights.InBias).chunk(3, -1);
            projected = (all[0], all[1], all[2]);
        }
        else
        {
            Tensor[] projections = fused.chunk(3, 0);
            Tensor?[] biases = Chunks(weights.InBias, 3);
            projected = (
                nn.functional.linear(query, projections[0], biases[0]),
                nn.functional.linear(key, projections[1], biases[1]),
                nn.functional.linear(value, projections[2], biases[2]));
        }

        return scope.MoveToOuter(projected.Item1, projected.Item2, projected.Item3);
    }

    /// <summary>The attention between the projections.</summary>
    /// <param name="q">The projected queries, [T, N, E].</param>
    /// <param name="k">The projected keys, [S, N, E].</param>
    /// <param name="v">The projected values, [S, N, E].</param>
    /// <param name="input">The masks, and whether the attention weights are needed.</param>
    /// <param name="weights">The learnt key and value.</param>
    /// <param name="traits">The layer's options.</param>
    /// <param name="training">Whether attention weights are dropped.</param>
    /// <returns>The heads' outputs side by side, [T, N, E], before the output projection; the attention weights as <see cref="Run"/> returns them.</returns>
    public static (Tensor Context, Tensor Attention) Attend(Tensor q, Tensor k, Tensor v, AttentionInput input, AttentionWeights weights, AttentionTraits traits, bool training)
    {
        using var scope = NewDisposeScope();
        (long queries, long batch, long width) = (q.shape[0], q.shape[1], traits.EmbedDim);
        (long heads, long headWidth) = (traits.Heads, width / traits.Heads);
        long extra = 0;
        q = q * (1 / Math.Sqrt(headWidth));
        if (traits.HasBiasKv)
        {
            k = cat([k, weights.LearntKey!.repeat(1, batch, 1)], 0);
            v = cat([v, weights.LearntValue!.repeat(1, batch, 1)], 0);
            extra++;
        }

        (q, k, v) = (PerHead(q), PerHead(k), PerHead(v));
        if (traits.AddZeroAttention)
        {
            Tensor nothing = zeros([batch * heads, 1, headWidth], k.dtype, k.device);
            k = cat([k, nothing], 1);
            v = cat([v, nothing], 1);
            extra++;
        }

        Tensor scores = q.bmm(k.transpose(1, 2));
        if (input.AttentionMask is { } added)
        {
            // In place, so that the scores keep their dtype whatever the mask's is.
            scores.add_(Extended(added));
        }

        if (input.KeyPaddingMask is { } padding)
        {
            Tensor left = Extended(padding).unsqueeze(1).unsqueeze(2);
            scores = scores.view(batch, heads, queries, -1).masked_fill(left, double.NegativeInfinity).view(batch * heads, queries, -1);
        }

        Tensor attention = nn.functional.dropout(nn.functional.softmax(scores, -1), traits.Dropout, training);
        Tensor context = attention.bmm(v).transpose(0, 1).contiguous().view(queries, batch, width);
        Tensor averaged = input.NeedWeights
            ? attention.view(batch, heads, queries, -1).sum(dim: 1) / heads
            : Invalid();
        return scope.MoveToOuter(context, averaged);

        Tensor PerHead(Tensor x) => x.contiguous().view(x.shape[0], batch * heads, headWidth).transpose(0, 1);

        // Masks leave the extra keys in.
        Tensor Extended(Tensor mask) => extra == 0 ? mask : cat([mask, zeros([.. mask.shape[..^1], extra], mask.dtype, mask.device)], -1);
    }

    private static Tensor?[] Chunks(Tensor? bias, int count) => bias is null ? new Tensor?[count] : bias.chunk(count, 0);

    private static Tensor Invalid()
    {
        Tensor tensor = empty(0);
        tensor.Dispose();
        return tensor;
    }
}
