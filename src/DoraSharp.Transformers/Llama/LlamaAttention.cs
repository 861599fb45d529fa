using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>Causal self-attention with rotary positions and grouped key-value heads.</summary>
internal sealed class LlamaAttention : nn.Module<Tensor, AttentionContext, Tensor>
{
    [ComponentName(Name = "q_proj")]
    private readonly nn.Module<Tensor, Tensor> _query;
    [ComponentName(Name = "k_proj")]
    private readonly nn.Module<Tensor, Tensor> _key;
    [ComponentName(Name = "v_proj")]
    private readonly nn.Module<Tensor, Tensor> _value;
    [ComponentName(Name = "o_proj")]
    private readonly nn.Module<Tensor, Tensor> _output;

    private readonly int _layer;
    private readonly long _heads;
    private readonly long _keyValueHeads;
    private readonly long _headDimension;

    public LlamaAttention(LlamaConfig config, int layer, Device? device, ScalarType dtype) : base(nameof(LlamaAttention))
    {
        (_layer, _heads, _keyValueHeads, _headDimension) = (layer, config.HeadCount, config.KeyValueHeadCount, config.HeadDimension);
        _query = nn.Linear(config.HiddenSize, _heads * _headDimension, config.AttentionBias, device, dtype);
        _key = nn.Linear(config.HiddenSize, _keyValueHeads * _headDimension, config.AttentionBias, device, dtype);
        _value = nn.Linear(config.HiddenSize, _keyValueHeads * _headDimension, config.AttentionBias, device, dtype);
        _output = nn.Linear(_heads * _headDimension, config.HiddenSize, config.AttentionBias, device, dtype);
        RegisterComponents();
    }

    public override Tensor forward(Tensor hidden, AttentionContext context)
    {
        using var scope = NewDisposeScope();
        Tensor query = RotaryEmbedding.Rotate(Split(_query.call(hidden), _heads), context.Cosines, context.SignedSines);
        Tensor key = RotaryEmbedding.Rotate(Split(_key.call(hidden), _keyValueHeads), context.Cosines, context.SignedSines);
        Tensor value = Split(_value.call(hidden), _keyValueHeads);
        if (context.Cache is { } cache)
        {
            (key, value) = cache.Append(_layer, key, value);
        }

        Tensor mixed = nn.functional.scaled_dot_product_attention(query, Repeat(key), Repeat(value), context.Mask, is_casual: context.IsCausal);
        Tensor joined = mixed.transpose(1, 2).reshape(hidden.shape[0], hidden.shape[1], _heads * _headDimension);
        return _output.call(joined).MoveToOuterDisposeScope();
    }

    /// <summary><c>[batch, tokens, heads · dimension]</c> to <c>[batch, heads, tokens, dimension]</c>.</summary>
    private Tensor Split(Tensor projected, long heads)
        => projected.view(projected.shape[0], projected.shape[1], heads, _headDimension).transpose(1, 2);

    /// <summary>Gives every query head its key-value head: head h uses h / (heads / keyValueHeads).</summary>
    private Tensor Repeat(Tensor shared)
    {
        if (_heads == _keyValueHeads)
        {
            return shared;
        }

        long[] shape = shared.shape;
        return shared.unsqueeze(2)
            .expand(shape[0], _keyValueHeads, _heads / _keyValueHeads, shape[2], shape[3])
            .reshape(shape[0], _heads, shape[2], shape[3]);
    }
}
