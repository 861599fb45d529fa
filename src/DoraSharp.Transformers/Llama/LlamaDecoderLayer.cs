using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>Attention and MLP, each on a normed copy of the residual stream that it adds to.</summary>
internal sealed class LlamaDecoderLayer : nn.Module<Tensor, AttentionContext, Tensor>
{
    [ComponentName(Name = "self_attn")]
    private readonly LlamaAttention attention;
    [ComponentName(Name = "mlp")]
    private readonly LlamaMlp mlp;
    [ComponentName(Name = "input_layernorm")]
    private readonly RmsNorm attentionNorm;
    [ComponentName(Name = "post_attention_layernorm")]
    private readonly RmsNorm mlpNorm;

    public LlamaDecoderLayer(LlamaConfig config, int layer, Device? device, ScalarType dtype) : base(nameof(LlamaDecoderLayer))
    {
        attention = new LlamaAttention(config, layer, device, dtype);
        mlp = new LlamaMlp(config, device, dtype);
        attentionNorm = new RmsNorm(config.HiddenSize, config.RmsNormEpsilon, device, dtype);
        mlpNorm = new RmsNorm(config.HiddenSize, config.RmsNormEpsilon, device, dtype);
        RegisterComponents();
    }

    public override Tensor forward(Tensor hidden, AttentionContext context)
    {
        using var scope = NewDisposeScope();
        hidden = hidden + attention.call(attentionNorm.call(hidden), context);
        return (hidden + mlp.call(mlpNorm.call(hidden))).MoveToOuterDisposeScope();
    }
}
