using BenchmarkDotNet.Attributes;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>The norm alone: a call with one token whose norm is kept, and one that has to compute it.</summary>
public class NormBenchmarks
{
    private const int Rank = 16;

    private Linear frozen = null!;
    private AdaptedLinear layer = null!;
    private LoraAdapter adapter = null!;
    private Tensor x = null!;
    private IDisposable? gradients;

    /// <summary>i = o.</summary>
    [Params(1024, 2048)]
    public int Width { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        gradients = set_grad_enabled(false);
        frozen = nn.Linear(Width, Width, hasBias: false);
        frozen.weight!.requires_grad = false;
        layer = DoraLinear.From(frozen, new LoraOptions { Rank = Rank });
        adapter = (LoraAdapter)layer.Adapters[layer.Adapters.Active[0]];
        adapter.B.normal_();
        x = randn(1, Width);
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        layer.Dispose();
        frozen.Dispose();
        x.Dispose();
        gradients?.Dispose();
    }

    [Benchmark]
    public void Kept()
    {
        using Tensor y = layer.call(x);
    }

    /// <summary>As after an optimizer's step.</summary>
    [Benchmark]
    public void Computed()
    {
        adapter.B.mul_(1);
        using Tensor y = layer.call(x);
    }
}
