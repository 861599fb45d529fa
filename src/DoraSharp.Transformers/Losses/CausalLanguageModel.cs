using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>The training objective of decoders: predict each next token.</summary>
public static class CausalLanguageModel
{
    /// <summary>The label of a position that is not to be predicted.</summary>
    public const long IgnoredLabel = -100;

    /// <summary>The cross entropy of the next tokens, in nats: logits at position t against the label at t + 1.</summary>
    /// <param name="logits">What the model said, <c>[batch, tokens, vocab]</c>, any floating dtype; computed in float32.</param>
    /// <param name="labels">The token ids of the same positions, int64 <c>[batch, tokens]</c>; <see cref="IgnoredLabel"/> where none is to be predicted. Often the input ids themselves.</param>
    /// <param name="reduction">The mean over all labels that count (the default), their sum, or one loss for each position, <c>[batch, tokens − 1]</c>.</param>
    /// <returns>The loss, float32. The mean over no label at all is NaN, as in transformers.</returns>
    /// <exception cref="ArgumentException">The shapes do not fit.</exception>
    public static Tensor Loss(Tensor logits, Tensor labels, nn.Reduction reduction = nn.Reduction.Mean)
    {
        ArgumentNullException.ThrowIfNull(logits);
        ArgumentNullException.ThrowIfNull(labels);
        long[] scores = logits.shape, ids = labels.shape;
        if (scores.Length != 3 || ids.Length != 2 || scores[0] != ids[0] || scores[1] != ids[1] || ids[1] < 2)
        {
            throw new ArgumentException(
                $"Logits [{string.Join(", ", scores)}] and labels [{string.Join(", ", ids)}] must be [batch, tokens, vocab] and [batch, tokens] with 2 tokens or more.", nameof(labels));
        }

        using var scope = NewDisposeScope();
        // Moving the labels, not the logits, leaves the largest tensor of a training step uncopied.
        Tensor end = full([ids[0], 1], IgnoredLabel, dtype: labels.dtype, device: labels.device);
        Tensor targets = cat([labels.narrow(1, 1, ids[1] - 1), end], dim: 1).reshape(-1);
        Tensor loss = nn.functional.cross_entropy(logits.reshape(-1, scores[2]).to(ScalarType.Float32), targets, ignore_index: IgnoredLabel, reduction: reduction);
        return (reduction == nn.Reduction.None ? loss.view(ids).narrow(1, 0, ids[1] - 1) : loss).MoveToOuterDisposeScope();
    }
}
