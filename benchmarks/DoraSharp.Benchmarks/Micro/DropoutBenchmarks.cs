using BenchmarkDotNet.Attributes;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>The dropout mask: a layer's forward pass with and without dropout, beside libtorch's own dropout of the same input.</summary>
public class DropoutBenchmarks
{
    private const int Width = 1024;
    private const int Tokens = 512;
    private const int Rank = 16;
    private const double Probability = .05;

    private Linear frozen = null!;
    private AdaptedLinear plain = null!;
    private AdaptedLinear dropping = null!;
    private Tensor x = null!;
    private IDisposable? gradients;

    [GlobalSetup]
    public void Setup()
    {
        gradients = set_grad_enabled(false);
        frozen = nn.Linear(Width, Width, hasBias: false);
        frozen.weight!.requires_grad = false;
        plain = LoraLinear.From(frozen, new LoraOptions { Rank = Rank });
        dropping = LoraLinear.From(frozen, new LoraOptions { Rank = Rank, Dropout = Probability });
        plain.train();
        dropping.train();
        x = randn(Tokens, Width);
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        plain.Dispose();
        dropping.Dispose();
        frozen.Dispose();
        x.Dispose();
        gradients?.Dispose();
    }

    [Benchmark]
    public void WithoutDropout()
    {
        using Tensor y = plain.call(x);
    }

    [Benchmark]
    public void WithDropout()
    {
        using Tensor y = dropping.call(x);
    }

    [Benchmark]
    public void LibtorchDropoutAlone()
    {
        using Tensor dropped = nn.functional.dropout(x, Probability, training: true);
    }
}
