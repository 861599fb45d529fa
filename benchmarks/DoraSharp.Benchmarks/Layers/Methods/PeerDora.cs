using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>
/// DoRA as other libraries compose it of plain operations:
/// y = z + (g − 1) ⊙ z + g ⊙ s·B·A drop(x), z = W x, g = m/‖W + s·B·A‖ with the norm computed in every forward pass.
/// A derived type says how it gets the norm. As in PEFT, adapters and norms are float32 over a half-precision weight.
/// </summary>
internal abstract class PeerDora : Method
{
    private readonly Linear baseLayer;
    private readonly double dropout;
    private bool training = true;

    protected PeerDora(Problem problem)
    {
        baseLayer = problem.NewBase();
        dropout = problem.Scenario.Dropout;
        Scaling = problem.Scaling;
        A = new(problem.A.clone());
        B = new(problem.B.clone());
        Magnitude = new(problem.Magnitude.clone());
    }

    public override IReadOnlyList<Parameter> Trained => [A, B, Magnitude];

    protected Parameter A { get; }

    protected Parameter B { get; }

    protected Parameter Magnitude { get; }

    protected double Scaling { get; }

    /// <summary>W [out, in] in its own dtype.</summary>
    protected Tensor Weight => baseLayer.weight!;

    public override void Train(bool training) => this.training = training;

    public override Tensor Forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        Tensor z = baseLayer.call(x);
        Tensor input = nn.functional.dropout(x.to(A.dtype), dropout, training && dropout > 0);
        Tensor gain = (Magnitude / Norm().detach()).unsqueeze(0);
        Tensor update = nn.functional.linear(nn.functional.linear(input, A), B);
        Tensor difference = ((gain - 1) * ScaledProduct(z, input)) + (gain * update * Scaling);
        return (z + difference).to(x.dtype).MoveToOuterDisposeScope();
    }

    public override void Dispose()
    {
        baseLayer.Dispose();
        A.Dispose();
        B.Dispose();
        Magnitude.Dispose();
    }

    /// <summary>n = ‖W + s·B·A‖, [out].</summary>
    protected abstract Tensor Norm();

    /// <summary>The product with W that (g − 1) scales: the base layer's own unless a peer computes another.</summary>
    protected virtual Tensor ScaledProduct(Tensor z, Tensor dropped) => z;

    /// <summary>‖V‖ per row of a dense V [out, in].</summary>
    protected static Tensor RowNorm(Tensor dense) => linalg.vector_norm(dense, ord: 2, dims: [1]);
}
