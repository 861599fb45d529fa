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

    internal LlamaForCausalLM(LlamaConfig config, Device? device, ScalarType dtype, bool initialize) : base(nameof(LlamaForCausalLM))
    {
        ArgumentNullException.ThrowIfNull(config);
        config.Validate();
        CheckDType(dtype);
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

    /// <summary>Reads a Hugging Face folder: <c>config.json</c>, and <c>model.safetensors</c> or the shards of <c>model.safetensors.index.json</c>.</summary>
    /// <param name="folder">The folder. Its weights may be quantized by bitsandbytes (<c>quantization_config</c>).</param>
    /// <param name="dtype">The dtype of the weights, and that quantized layers compute in; by default that of the file, where dense weights are mixed the narrowest that holds all exactly.</param>
    /// <param name="device">Where the weights live; the CPU by default.</param>
    /// <param name="quantization">
    /// Which matrices to quantize while they are read, one at a time, and how; <see langword="null"/>, the default, leaves them as the file has them.
    /// By default all but embedding and output layer.
    /// </param>
    /// <param name="progress">Is told of every tensor when it is in its place.</param>
    /// <returns>The model. Where the configuration ties embedding and output layer but the file holds two that differ, <see cref="Config"/> says untied, as transformers 5 does.</returns>
    /// <exception cref="DirectoryNotFoundException">There is no such folder.</exception>
    /// <exception cref="FileNotFoundException">The folder lacks one of the files.</exception>
    /// <exception cref="InvalidDataException">A file is damaged, or tensors are missing, unexpected or misshapen; the message names the file and them.</exception>
    /// <exception cref="NotSupportedException">The folder holds another architecture, or a feature that this one lacks; the message names it.</exception>
    /// <exception cref="ArgumentException">Weights cannot be quantized: they are already, or have values that are not finite, or a target matches none.</exception>
    public static LlamaForCausalLM Load(
        string folder, ScalarType? dtype = null, Device? device = null, ModelQuantizationOptions? quantization = null, IProgress<CheckpointProgress>? progress = null)
        => LlamaFolder.Load(folder, dtype, device, quantization, progress);

    /// <summary>Writes <c>config.json</c> and <c>model.safetensors</c>, which transformers and <see cref="Load"/> read; quantized layers as bitsandbytes stores them.</summary>
    /// <param name="folder">The folder, which is created if need be. Its tokenizer files stay as they are.</param>
    /// <param name="dtype">The dtype to store dense weights in; by default the model's own, bit for bit.</param>
    /// <exception cref="ArgumentException">The dtype is none that a model can have.</exception>
    /// <exception cref="InvalidOperationException">The model holds other parameters than a Llama's, such as adapters that are not merged.</exception>
    /// <exception cref="NotSupportedException">Layers are quantized in a way that bitsandbytes has no layer for, or in several.</exception>
    /// <exception cref="IOException">The files cannot be written; each keeps its old content until its new one is complete.</exception>
    public void Save(string folder, ScalarType? dtype = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        CheckDType(dtype);
        LlamaFolder.Save(this, folder, dtype);
    }

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

    private static void CheckDType(ScalarType? dtype)
    {
        if (dtype is not (null or ScalarType.Float32 or ScalarType.Float64 or ScalarType.BFloat16 or ScalarType.Float16))
        {
            throw new ArgumentException($"A model cannot have weights of dtype {dtype}; take float32, float64, bfloat16 or float16.", nameof(dtype));
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
