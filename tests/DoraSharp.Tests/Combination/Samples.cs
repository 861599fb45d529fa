using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Combination;

/// <summary>A weight [61, 83] and trained-like adapters of it.</summary>
internal sealed class Samples : IDisposable
{
    public const int Outputs = 61;
    public const int Inputs = 83;

    private readonly Generator generator = new(5);
    private readonly Linear layer = nn.Linear(Inputs, Outputs, hasBias: false);

    public Samples()
    {
        W = Random(Outputs, Inputs);
        layer.weight = new Parameter(W.to(ScalarType.Float32), requires_grad: false);
        W = layer.weight.to(ScalarType.Float64);
        Weight = new DenseWeight(layer);
    }

    /// <summary>The weight in float64.</summary>
    public Tensor W { get; }

    public FrozenWeight Weight { get; }

    public CombinationSource Lora(double weight, int rank, double scaling = 0.7) =>
        new("lora", weight, Random(rank, Inputs), Random(Outputs, rank), scaling);

    /// <summary>A DoRA adapter whose gains lie between 0.5 and 1.5, unless given.</summary>
    public CombinationSource Dora(double weight, int rank, double scaling = 0.7, Tensor? gain = null)
    {
        CombinationSource lora = Lora(weight, rank, scaling);
        Tensor norm = linalg.vector_norm(W + (scaling * lora.B.matmul(lora.A)), ord: 2, dims: [1]);
        gain ??= 0.5 + rand(Outputs, dtype: ScalarType.Float64, generator: generator);
        return lora with { Adapter = "dora", Magnitude = gain * norm };
    }

    public Tensor Random(params long[] shape) => randn(shape, dtype: ScalarType.Float64, generator: generator);

    /// <summary>The weight with one adapter: the definition.</summary>
    public Tensor With(CombinationSource source) =>
        Reference.EffectiveWeight(W, new ReferenceAdapter(source.A, source.B, source.Magnitude, source.Scaling));

    /// <summary>The weight with the combined adapter.</summary>
    public Tensor With(CombinedUpdate combined) =>
        Reference.EffectiveWeight(W, new ReferenceAdapter(combined.A, combined.B, combined.Magnitude, 1));

    /// <summary>W and the weighted sum of the whole changes.</summary>
    public Tensor Sum(params CombinationSource[] sources) =>
        sources.Aggregate(W, (sum, source) => sum + (source.Weight * (With(source) - W)));

    public CombinedUpdate Combine(AdapterCombination combination, params CombinationSource[] sources)
    {
        using KeepMasks masks = new(combination.Density ?? 1, combination.Seed);
        return Combine(combination, masks.Next, sources);
    }

    public CombinedUpdate Combine(AdapterCombination combination, Func<long[], Tensor> masks, params CombinationSource[] sources) => WeightCombination.Combine(
        combination, sources, Weight, sources.Any(source => source.Magnitude is not null), combination.RankOf([.. sources.Select(source => source.Rank)]), masks);

    /// <summary>A combination for these sources.</summary>
    public static AdapterCombination As(CombinationType type, params CombinationSource[] sources) => new()
    {
        Adapters = [.. sources.Select((source, i) => $"{source.Adapter}{i}")],
        Weights = [.. sources.Select(source => source.Weight)],
        Type = type,
    };

    public void Dispose()
    {
        Weight.Dispose();
        layer.Dispose();
        generator.Dispose();
    }
}
