using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>Embedding, decoder layers and final norm: everything but the output layer.</summary>
internal sealed class LlamaModel : nn.Module<Tensor, KeyValueCache?, Tensor>
{
    [ComponentName(Name = "embed_tokens")]
    private readonly Embedding embedding;
    [ComponentName(Name = "layers")]
    private readonly ModuleList<LlamaDecoderLayer> layers;
    [ComponentName(Name = "norm")]
    private readonly RmsNorm norm;
    private readonly RotaryEmbedding rotary;

    public LlamaModel(LlamaConfig config, Device? device, ScalarType dtype) : base(nameof(LlamaModel))
    {
        embedding = CreateEmbedding(config, device, dtype);
        layers = nn.ModuleList([.. Enumerable.Range(0, config.LayerCount).Select(layer => new LlamaDecoderLayer(config, layer, device, dtype))]);
        norm = new RmsNorm(config.HiddenSize, config.RmsNormEpsilon, device, dtype);
        rotary = new RotaryEmbedding(config);
        RegisterComponents();
    }

    /// <summary>Where the weights live.</summary>
    public Device Device
    {
        get
        {
            using Parameter weight = embedding.weight!;
            return weight.device;
        }
    }

    /// <summary>The hidden states <c>[batch, tokens, hidden]</c> of token ids <c>[batch, tokens]</c> that follow what the cache holds.</summary>
    public override Tensor forward(Tensor inputIds, KeyValueCache? cache)
    {
        using var scope = NewDisposeScope();
        Tensor hidden = embedding.call(inputIds);
        AttentionContext context = Context(inputIds.shape[1], cache, hidden.device, hidden.dtype);
        foreach (LlamaDecoderLayer layer in layers)
        {
            hidden = layer.call(hidden, context);
        }

        cache?.Advance(inputIds.shape[1]);
        return norm.call(hidden).MoveToOuterDisposeScope();
    }

    /// <summary>Hidden states times the transposed embedding: the logits of a tied output layer.</summary>
    public Tensor Unembed(Tensor hidden)
    {
        using var scope = NewDisposeScope();
        return nn.functional.linear(hidden, embedding.weight!).MoveToOuterDisposeScope();
    }

    private static Embedding CreateEmbedding(LlamaConfig config, Device? device, ScalarType dtype)
    {
        if (device?.type != TorchSharp.DeviceType.META)
        {
            return nn.Embedding(config.VocabSize, config.HiddenSize, device: device, dtype: dtype);
        }

        // libtorch would fill the whole matrix on the CPU before it is moved; a small one is exchanged instead.
        Embedding embedding = nn.Embedding(1, 1);
        using Parameter small = embedding.named_parameters().Single().parameter;
        embedding.weight = (Parameter)new Parameter(empty(config.VocabSize, config.HiddenSize, dtype: dtype, device: device)).DetachFromDisposeScope();
        return embedding;
    }

    private AttentionContext Context(long tokens, KeyValueCache? cache, Device device, ScalarType dtype)
    {
        long cached = cache?.Length ?? 0;
        (Tensor cosines, Tensor signedSines) = rotary.At(cached, tokens, device, dtype);
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
