using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>Attention and MLP, each on a normed copy of the residual stream that it adds to.</summary>
internal sealed class LlamaDecoderLayer : nn.Module<Tensor, AttentionContext, Tensor>
{
    [ComponentName(Name = "self_attn")]
    private readonly LlamaAttention _attention;
    [ComponentName(Name = "mlp")]
    private readonly LlamaMlp _mlp;
    [ComponentName(Name = "input_layernorm")]
    private readonly RmsNorm _attentionNorm;
    [ComponentName(Name = "post_attention_layernorm")]
    private readonly RmsNorm _mlpNorm;

    public LlamaDecoderLayer(LlamaConfig config, int layer, Device? device, ScalarType dtype) : base(nameof(LlamaDecoderLayer))
    {
        _attention = new LlamaAttention(config, layer, device, dtype);
        _mlp = new LlamaMlp(config, device, dtype);
        _attentionNorm = new RmsNorm(config.HiddenSize, config.RmsNormEpsilon, device, dtype);
        _mlpNorm = new RmsNorm(config.HiddenSize, config.RmsNormEpsilon, device, dtype);
        RegisterComponents();
    }

    public override Tensor forward(Tensor hidden, AttentionContext context)
    {
        using var scope = NewDisposeScope();
        hidden = hidden + _attention.call(_attentionNorm.call(hidden), context);
        return (hidden + _mlp.call(_mlpNorm.call(hidden))).MoveToOuterDisposeScope();
    }
}
