using DoraSharp.Transformers;
using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>The model and the batch: 6 layers of width 512, 4 × 256 tokens.</summary>
internal sealed class LlamaSetting : IDisposable
{
    private const int Seed = 17;
    private const int Sequences = 4;
    private const int TokensPerSequence = 256;

    public LlamaSetting(Device device)
    {
        Device = device;
        manual_seed(Seed);
        using Tensor ids = randint(0, Config.VocabSize, [Sequences, TokensPerSequence], dtype: ScalarType.Int64);
        Ids = ids.clone().to(device).DetachFromDisposeScope();
    }

    public static LlamaConfig Config { get; } = new() { VocabSize = 2048, HiddenSize = 512, IntermediateSize = 1408, LayerCount = 6, HeadCount = 8, MaxPositions = TokensPerSequence };

    /// <summary>The modules that adapters go to, the paper's choice.</summary>
    public static IReadOnlyList<string> Targets { get; } = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"];

    public static int Rank => 16;

    public static int Alpha => 2 * Rank;

    public static string Description => string.Create(
        System.Globalization.CultureInfo.InvariantCulture,
        $"A Llama of {Config.LayerCount} layers, width {Config.HiddenSize}, MLP {Config.IntermediateSize}, {Config.HeadCount} heads, vocabulary {Config.VocabSize}; {Sequences} × {TokensPerSequence} tokens; r = {Rank} on {string.Join(", ", Targets)}");

    public Device Device { get; }

    /// <summary>Token ids [4, 256], the labels as well.</summary>
    public Tensor Ids { get; }

    /// <summary>The same weights every time, in training mode, all frozen.</summary>
    public LlamaForCausalLM NewModel()
    {
        manual_seed(Seed);
        LlamaForCausalLM model = new(Config);
        foreach (var parameter in model.parameters())
        {
            parameter.requires_grad = false;
        }

        model.to(Device);
        model.train();
        return model;
    }

    /// <summary>The adapter of one layer, in the middle of its training: B is not zero and m not the norm.</summary>
    /// <param name="layer">The layer's number among the adapted ones.</param>
    /// <param name="weight">Its frozen weight [out, in].</param>
    /// <param name="dropout">The probability of dropout.</param>
    public static AdapterValues NewAdapter(int layer, Tensor weight, double dropout)
    {
        using var noGrad = no_grad();
        manual_seed(Seed + 1 + layer);
        using var scope = NewDisposeScope();
        Tensor a = (randn(Rank, weight.shape[1]) / Math.Sqrt(weight.shape[1])).to(weight.device);
        Tensor b = (randn(weight.shape[0], Rank) * .01).to(weight.device);
        Tensor magnitude = linalg.vector_norm(weight, ord: 2, dims: [1]) * (rand(weight.shape[0]) * .2).add(.9).to(weight.device);
        return new(a.MoveToOuterDisposeScope(), b.MoveToOuterDisposeScope(), magnitude.MoveToOuterDisposeScope(), (double)Alpha / Rank, dropout);
    }

    public void Dispose() => Ids.Dispose();
}
