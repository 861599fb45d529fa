using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>A Llama-family decoder with its output layer: token ids in, logits of the next tokens out.</summary>
/// <remarks>
/// Modules and parameters carry the names of transformers' class of the same name (<c>model.layers.0.self_attn.q_proj</c>, …).
/// With <see cref="LlamaConfig.TieWordEmbeddings"/> there is no <c>lm_head</c>: the embedding matrix is the only copy of those weights.
/// </remarks>
public sealed class LlamaForCausalLM : nn.Module<Tensor, Tensor>
{
    private const double InitialDeviation = 0.02;

    [ComponentName(Name = "model")]
    private readonly LlamaModel decoder;
    [ComponentName(Name = "lm_head")]
    private readonly nn.Module<Tensor, Tensor>? head;

    /// <summary>Builds a model with random weights: normal with standard deviation 0.02, biases 0, norms 1.</summary>
    /// <param name="config">The shape of the model.</param>
    /// <param name="device">Where the weights live; the CPU by default.</param>
    /// <param name="dtype">The dtype of the weights: float32, float64, bfloat16 or float16.</param>
    /// <exception cref="ArgumentException">Two values of <paramref name="config"/> do not fit together, or the dtype is none of those.</exception>
    public LlamaForCausalLM(LlamaConfig config, Device? device = null, ScalarType dtype = ScalarType.Float32)
        : this(config, device, dtype, initialize: true)
    {
    }

    private LlamaForCausalLM(LlamaConfig config, Device? device, ScalarType dtype, bool initialize) : base(nameof(LlamaForCausalLM))
    {
        ArgumentNullException.ThrowIfNull(config);
        config.Validate();
        if (dtype is not (ScalarType.Float32 or ScalarType.Float64 or ScalarType.BFloat16 or ScalarType.Float16))
        {
            throw new ArgumentException($"A model cannot have weights of dtype {dtype}; take float32, float64, bfloat16 or float16.", nameof(dtype));
        }

        Config = config;
        decoder = new LlamaModel(config, device, dtype);
        head = config.TieWordEmbeddings ? null : nn.Linear(config.HiddenSize, config.VocabSize, hasBias: false, device, dtype);
        RegisterComponents();
        if (initialize)
        {
            Initialize();
        }
    }

    /// <summary>The shape of the model.</summary>
    public LlamaConfig Config { get; }

    /// <summary>The logits of the token after each position.</summary>
    /// <param name="inputIds">Token ids, int64 <c>[batch, tokens]</c>.</param>
    /// <returns>Logits <c>[batch, tokens, vocab]</c> in the model's dtype. Position t depends on tokens 0 to t only, so padding on the right changes nothing before it.</returns>
    /// <exception cref="ArgumentException">The ids are not two-dimensional or there is none.</exception>
    public override Tensor forward(Tensor inputIds)
    {
        CheckIds(inputIds);
        using var scope = NewDisposeScope();
        return Logits(decoder.call(inputIds, null)).MoveToOuterDisposeScope();
    }

    /// <summary>Continues a text. Runs in evaluation mode, without gradients, with a key-value cache.</summary>
    /// <param name="prompt">The token ids to continue, at least one; mostly they start with <see cref="LlamaConfig.BosTokenId"/>.</param>
    /// <param name="options">How long, and how the tokens are chosen.</param>
    /// <returns>The prompt and the new tokens.</returns>
    /// <exception cref="ArgumentException">The prompt is empty or holds an id that is not in the vocabulary.</exception>
    /// <exception cref="InvalidOperationException">The model gave a logit that is not finite.</exception>
    public long[] Generate(IReadOnlyList<long> prompt, GenerationOptions options)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        ArgumentNullException.ThrowIfNull(options);
        long[] start = [.. prompt];
        if (start.Length == 0 || start.Any(id => id < 0 || id >= Config.VocabSize))
        {
            throw new ArgumentException(
                $"A prompt needs one token id or more, each from 0 to {Config.VocabSize - 1}; this one is [{string.Join(", ", start)}].", nameof(prompt));
        }

        bool wasTraining = training;
        eval();
        try
        {
            return Continue(start, options);
        }
        finally
        {
            train(wasTraining);
        }
    }

    private long[] Continue(long[] prompt, GenerationOptions options)
    {
        using var _ = no_grad();
        using var cache = new KeyValueCache(Config.LayerCount, prompt.LongLength + options.MaxNewTokens);
        var sampler = new TokenSampler(options);
        IReadOnlyList<long> ends = options.EosTokenIds ?? Config.EosTokenIds;
        List<long> text = [.. prompt];
        long[] unread = prompt;
        for (int added = 0; added < options.MaxNewTokens; added++)
        {
            using var scope = NewDisposeScope();
            Tensor ids = tensor(unread, device: decoder.Device).unsqueeze(0);
            Tensor logits = NextLogits(ids, cache).to(ScalarType.Float32).cpu().reshape(-1);
            long next = sampler.Next(logits.data<float>().ToArray());
            text.Add(next);
            if (ends.Contains(next))
            {
                break;
            }

            unread = [next];
        }

        return [.. text];
    }

    /// <summary>The logits <c>[batch, 1, vocab]</c> of the token after the last of <paramref name="inputIds"/>, which follow what the cache holds and are added to it.</summary>
    internal Tensor NextLogits(Tensor inputIds, KeyValueCache cache)
    {
        CheckIds(inputIds);
        using var scope = NewDisposeScope();
        Tensor hidden = decoder.call(inputIds, cache);
        return Logits(hidden.narrow(1, inputIds.shape[1] - 1, 1)).MoveToOuterDisposeScope();
    }

    private Tensor Logits(Tensor hidden) => head is null ? decoder.Unembed(hidden) : head.call(hidden);

    private void Initialize()
    {
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        foreach (nn.Module module in modules())
        {
            switch (module)
            {
                case Linear linear:
                    linear.weight.normal_(0, InitialDeviation);
                    linear.bias?.zero_();
                    break;
                case Embedding embedding:
                    embedding.weight!.normal_(0, InitialDeviation);
                    break;
            }
        }
    }

    private static void CheckIds(Tensor inputIds)
    {
        ArgumentNullException.ThrowIfNull(inputIds);
        if (inputIds.dim() != 2 || inputIds.numel() == 0)
        {
            throw new ArgumentException($"Token ids must be [batch, tokens] with at least one of each; these are [{string.Join(", ", inputIds.shape)}].", nameof(inputIds));
        }
    }
}
