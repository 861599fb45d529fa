using BenchmarkDotNet.Attributes;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>
/// What a call of an adapted layer costs besides its arithmetic: a layer so small that the arithmetic costs nothing, beside the
/// same operations of libtorch called one after the other.
/// </summary>
public class CallBenchmarks
{
    /// <summary>Small enough to cost nothing, large enough to be no special case.</summary>
    private const int Width = 32;

    private const int Rank = 8;

    private Linear frozen = null!;
    private AdaptedLinear lora = null!;
    private AdaptedLinear dora = null!;
    private Tensor x = null!;
    private Tensor a = null!;
    private Tensor b = null!;
    private Tensor gain = null!;
    private IDisposable? gradients;

    /// <summary>T.</summary>
    [Params(1, 512)]
    public int Tokens { get; set; }

    /// <summary>Whether the call records a graph.</summary>
    [Params(false, true)]
    public bool Trains { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        set_num_threads(1);
        gradients = set_grad_enabled(Trains);
        frozen = nn.Linear(Width, Width, hasBias: false);
        frozen.weight!.requires_grad = false;
        LoraOptions options = new() { Rank = Rank };
        lora = LoraLinear.From(frozen, options);
        dora = DoraLinear.From(frozen, options);
        lora.train(Trains);
        dora.train(Trains);
        x = randn(Tokens, Width).requires_grad_(Trains);
        a = randn(Rank, Width).requires_grad_(Trains);
        b = randn(Width, Rank).requires_grad_(Trains);
        gain = ones(Width).requires_grad_(Trains);
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        foreach (IDisposable? owned in new IDisposable?[] { lora, dora, frozen, x, a, b, gain, gradients })
        {
            owned?.Dispose();
        }
    }

    /// <summary>y = g ⊙ (W x + B A x), the operations alone.</summary>
    [Benchmark]
    public void Bare()
    {
        using Tensor product = nn.functional.linear(x, frozen.weight!);
        using Tensor hidden = nn.functional.linear(x, a);
        using Tensor update = nn.functional.linear(hidden, b);
        using Tensor sum = product.add(update);
        using Tensor y = sum.mul(gain);
    }

    [Benchmark]
    public void Floor()
    {
        using Tensor y = frozen.call(x);
    }

    [Benchmark]
    public void Lora()
    {
        using Tensor y = lora.call(x);
    }

    [Benchmark]
    public void Dora()
    {
        using Tensor y = dora.call(x);
    }
}
