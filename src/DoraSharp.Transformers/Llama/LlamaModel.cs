using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>Embedding, decoder layers and final norm: everything but the output layer.</summary>
internal sealed class LlamaModel : nn.Module<Tensor, KeyValueCache?, Tensor>
{
    [ComponentName(Name = "embed_tokens")]
    private readonly Embedding _embedding;
    [ComponentName(Name = "layers")]
    private readonly ModuleList<LlamaDecoderLayer> _layers;
    [ComponentName(Name = "norm")]
    private readonly RmsNorm _norm;
    private readonly RotaryEmbedding _rotary;

    public LlamaModel(LlamaConfig config, Device? device, ScalarType dtype) : base(nameof(LlamaModel))
    {
        _embedding = nn.Embedding(config.VocabSize, config.HiddenSize, device: device, dtype: dtype);
        _layers = nn.ModuleList([.. Enumerable.Range(0, config.LayerCount).Select(layer => new LlamaDecoderLayer(config, layer, device, dtype))]);
        _norm = new RmsNorm(config.HiddenSize, config.RmsNormEpsilon, device, dtype);
        _rotary = new RotaryEmbedding(config);
        RegisterComponents();
    }

    /// <summary>Where the weights live.</summary>
    public Device Device
    {
        get
        {
            using Parameter weight = _embedding.weight!;
            return weight.device;
        }
    }

    /// <summary>The hidden states <c>[batch, tokens, hidden]</c> of token ids <c>[batch, tokens]</c> that follow what the cache holds.</summary>
    public override Tensor forward(Tensor inputIds, KeyValueCache? cache)
    {
        using var scope = NewDisposeScope();
        Tensor hidden = _embedding.call(inputIds);
        AttentionContext context = Context(inputIds.shape[1], cache, hidden.device, hidden.dtype);
        foreach (LlamaDecoderLayer layer in _layers)
        {
            hidden = layer.call(hidden, context);
        }

        cache?.Advance(inputIds.shape[1]);
        return _norm.call(hidden).MoveToOuterDisposeScope();
    }

    /// <summary>Hidden states times the transposed embedding: the logits of a tied output layer.</summary>
    public Tensor Unembed(Tensor hidden)
    {
        using var scope = NewDisposeScope();
        return nn.functional.linear(hidden, _embedding.weight!).MoveToOuterDisposeScope();
    }

    private AttentionContext Context(long tokens, KeyValueCache? cache, Device device, ScalarType dtype)
    {
        long cached = cache?.Length ?? 0;
        (Tensor cosines, Tensor signedSines) = _rotary.At(cached, tokens, device, dtype);
        return new AttentionContext
        {
            Cosines = cosines,
            SignedSines = signedSines,
            Cache = cache,
            IsCausal = cached == 0 && tokens > 1,
            Mask = cached > 0 && tokens > 1 ? ones(tokens, cached + tokens, dtype: ScalarType.Bool, device: device).tril(cached) : null,
        };
    }
}
