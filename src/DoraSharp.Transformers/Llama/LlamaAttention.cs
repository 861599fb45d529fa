using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>Causal self-attention with rotary positions and grouped key-value heads.</summary>
internal sealed class LlamaAttention : nn.Module<Tensor, AttentionContext, Tensor>
{
    [ComponentName(Name = "q_proj")]
    private readonly nn.Module<Tensor, Tensor> queryProjection;
    [ComponentName(Name = "k_proj")]
    private readonly nn.Module<Tensor, Tensor> keyProjection;
    [ComponentName(Name = "v_proj")]
    private readonly nn.Module<Tensor, Tensor> valueProjection;
    [ComponentName(Name = "o_proj")]
    private readonly nn.Module<Tensor, Tensor> outputProjection;

    private readonly int layer;
    private readonly long heads;
    private readonly long keyValueHeads;
    private readonly long headDimension;

    public LlamaAttention(LlamaConfig config, int layer, Device? device, ScalarType dtype) : base(nameof(LlamaAttention))
    {
        (this.layer, heads, keyValueHeads, headDimension) = (layer, config.HeadCount, config.KeyValueHeadCount, config.HeadDimension);
        queryProjection = nn.Linear(config.HiddenSize, heads * headDimension, config.AttentionBias, device, dtype);
        keyProjection = nn.Linear(config.HiddenSize, keyValueHeads * headDimension, config.AttentionBias, device, dtype);
        valueProjection = nn.Linear(config.HiddenSize, keyValueHeads * headDimension, config.AttentionBias, device, dtype);
        outputProjection = nn.Linear(heads * headDimension, config.HiddenSize, config.AttentionBias, device, dtype);
        RegisterComponents();
    }

    public override Tensor forward(Tensor hidden, AttentionContext context)
    {
        using var scope = NewDisposeScope();
        Tensor query = RotaryEmbedding.Rotate(Split(queryProjection.call(hidden), heads), context.Cosines, context.SignedSines);
        Tensor key = RotaryEmbedding.Rotate(Split(keyProjection.call(hidden), keyValueHeads), context.Cosines, context.SignedSines);
        Tensor value = Split(valueProjection.call(hidden), keyValueHeads);
        if (context.Cache is { } cache)
        {
            (key, value) = cache.Append(layer, key, value);
        }

        Tensor mixed = nn.functional.scaled_dot_product_attention(query, Repeat(key), Repeat(value), context.Mask, is_casual: context.IsCausal);
        Tensor joined = mixed.transpose(1, 2).reshape(hidden.shape[0], hidden.shape[1], heads * headDimension);
        return outputProjection.call(joined).MoveToOuterDisposeScope();
    }

    /// <summary><c>[batch, tokens, heads · dimension]</c> to <c>[batch, heads, tokens, dimension]</c>.</summary>
    private Tensor Split(Tensor projected, long heads)
        => projected.view(projected.shape[0], projected.shape[1], heads, headDimension).transpose(1, 2);

    /// <summary>Gives every query head its key-value head: head h uses h / (heads / keyValueHeads).</summary>
    private Tensor Repeat(Tensor shared)
    {
        if (heads == keyValueHeads)
        {
            return shared;
        }

        long[] shape = shared.shape;
        return shared.unsqueeze(2)
            .expand(shape[0], keyValueHeads, heads / keyValueHeads, shape[2], shape[3])
            .reshape(shape[0], heads, shape[2], shape[3]);
    }
}
