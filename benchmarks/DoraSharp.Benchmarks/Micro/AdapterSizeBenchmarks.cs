using BenchmarkDotNet.Attributes;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>What should cost what the adapter is worth, whatever the model's size: the same adapter in a small and in a large model.</summary>
public class AdapterSizeBenchmarks
{
    private const int Width = 512;
    private const int Rank = 16;
    private const string Adapted = "adapted";

    private readonly string folder = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
    private Sequential model = null!;
    private AdaptedModel adapted = null!;
    private AdamW optimizer = null!;
    private Tensor[] gradients = null!;

    /// <summary>Linear layers of 512 × 512 that are frozen and not adapted.</summary>
    [Params(4, 256)]
    public int FrozenLayers { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        set_num_threads(1);
        IEnumerable<(string, nn.Module<Tensor, Tensor>)> layers = Enumerable.Range(0, FrozenLayers).Select(index => ($"frozen{index}", Linear()));
        model = nn.Sequential([(Adapted, Linear()), .. layers]);
        adapted = AdapterInjector.Inject(model, new LoraOptions { TargetModules = [Adapted], Rank = Rank, UseDora = true });
        adapted.Save(folder);
        optimizer = optim.AdamW(adapted.TrainableParameters());
        gradients = [.. adapted.TrainableParameters().Select(parameter => randn_like(parameter))];
        foreach ((Parameter parameter, Tensor gradient) in adapted.TrainableParameters().Zip(gradients))
        {
            parameter.grad = gradient;
        }
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        optimizer.Dispose();
        adapted.Dispose();
        model.Dispose();
        foreach (Tensor gradient in gradients)
        {
            gradient.Dispose();
        }

        Directory.Delete(folder, recursive: true);
    }

    [Benchmark]
    public void OptimizerStep()
    {
        using var scope = NewDisposeScope();
        optimizer.step();
    }

    [Benchmark]
    public void ZeroGrad() => optimizer.zero_grad();

    [Benchmark]
    public void Save() => adapted.Save(folder);

    [Benchmark]
    public void Load() => adapted.Load(folder);

    private static nn.Module<Tensor, Tensor> Linear() => nn.Linear(Width, Width, hasBias: false);
}
