using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>The values of one scenario: every method computes with copies of the same parameters on the same input.</summary>
/// <remarks>B is not zero and m is not the norm: the adapter is one in the middle of its training.</remarks>
internal sealed class Problem : IDisposable
{
    private const int Seed = 5;

    /// <param name="scenario">The setting.</param>
    /// <param name="device">Where the values live; they are drawn on the CPU, so that all devices have the same.</param>
    public Problem(Scenario scenario, Device device)
    {
        Scenario = scenario;
        LayerShape shape = scenario.Shape;
        using var noGrad = no_grad();
        manual_seed(Seed);
        using var scope = NewDisposeScope();
        double inverse = 1 / Math.Sqrt(shape.In);
        Weight = randn(shape.Out, shape.In).mul(inverse).to(scenario.DType).to(device);
        A = randn(shape.Rank, shape.In).mul(inverse).to(device);
        B = randn(shape.Out, shape.Rank).mul(.1).to(device);
        Tensor updated = addmm(Weight.to(ScalarType.Float32), B, A, 1, (float)Scaling);
        Magnitude = linalg.vector_norm(updated, ord: 2, dims: [1]).mul(rand(shape.Out).mul(.4).add(.8).to(device));
        Input = randn(shape.Tokens, shape.In).to(scenario.DType).to(device).requires_grad_(scenario.HasBackward);
        OutputGradient = randn(shape.Tokens, shape.Out).to(scenario.DType).to(device);

        // The values live as long as the problem, whatever scopes the caller opens and closes.
        scope.Detach(Weight, A, B, Magnitude, Input, OutputGradient);
    }

    public Scenario Scenario { get; }

    /// <summary>W [out, in] in the scenario's dtype.</summary>
    public Tensor Weight { get; }

    /// <summary>A [r, in], float32.</summary>
    public Tensor A { get; }

    /// <summary>B [out, r], float32.</summary>
    public Tensor B { get; }

    /// <summary>m [out], float32.</summary>
    public Tensor Magnitude { get; }

    /// <summary>x [tokens, in] in the scenario's dtype; it gathers a gradient where the scenario has a backward pass.</summary>
    public Tensor Input { get; }

    /// <summary>dL/dy [tokens, out] in the scenario's dtype.</summary>
    public Tensor OutputGradient { get; }

    /// <summary>s = α/r; what the options below amount to.</summary>
    public double Scaling => Options.Scaling;

    /// <summary>The parameters' values for a peer.</summary>
    public AdapterValues Values => new(A, B, Magnitude, Scaling, Scenario.Dropout);

    /// <summary>The library's options for this problem.</summary>
    public LoraOptions Options => new() { Rank = Scenario.Shape.Rank, Alpha = 2 * Scenario.Shape.Rank, Dropout = Scenario.Dropout };

    /// <summary>A frozen layer of its own memory, without bias, as in the Llama family.</summary>
    public Linear NewBase()
    {
        using var noGrad = no_grad();
        Linear layer = nn.Linear(Scenario.Shape.In, Scenario.Shape.Out, hasBias: false, device: Weight.device, dtype: Scenario.DType);
        layer.weight!.copy_(Weight);
        layer.weight.requires_grad = false;
        return layer;
    }

    public void Dispose()
    {
        foreach (Tensor tensor in new[] { Weight, A, B, Magnitude, Input, OutputGradient })
        {
            tensor.Dispose();
        }
    }
}
