using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>
/// DoRA as other libraries compose it of plain operations over a frozen layer's output z = W x:
/// y = z + (g − 1) ⊙ z + g ⊙ s·B·A drop(x), g = m/‖W + s·B·A‖ with the norm computed in every forward pass.
/// A derived type says how it gets the norm. As in PEFT, adapters and norms are float32 over a half-precision weight.
/// </summary>
internal abstract class PeerAdapter : IDisposable
{
    /// <param name="frozen">The frozen layer, without bias; it stays the caller's.</param>
    /// <param name="values">What is copied into parameters of the adapter's own.</param>
    protected PeerAdapter(Linear frozen, AdapterValues values)
    {
        Weight = frozen.weight!;
        Scaling = values.Scaling;
        Dropout = values.Dropout;
        A = new(values.A.clone());
        B = new(values.B.clone());
        Magnitude = new(values.Magnitude.clone());
    }

    /// <summary>A, B, m.</summary>
    public IReadOnlyList<Parameter> Trained => [A, B, Magnitude];

    /// <summary>The probability of dropout in training.</summary>
    public double Dropout { get; }

    /// <summary>Whether dropout acts.</summary>
    public bool IsTraining { get; set; } = true;

    protected Parameter A { get; }

    protected Parameter B { get; }

    protected Parameter Magnitude { get; }

    protected double Scaling { get; }

    /// <summary>W [out, in] in its own dtype.</summary>
    protected Tensor Weight { get; }

    /// <summary>y [..., out] for z = W x and x [..., in].</summary>
    public Tensor Adapt(Tensor z, Tensor x)
    {
        using var scope = NewDisposeScope();
        Tensor input = nn.functional.dropout(x.to(A.dtype), Dropout, IsTraining && Dropout > 0);
        Tensor gain = (Magnitude / Norm().detach()).unsqueeze(0);
        Tensor update = nn.functional.linear(nn.functional.linear(input, A), B);
        Tensor difference = ((gain - 1) * ScaledProduct(z, input)) + (gain * update * Scaling);
        return (z + difference).to(x.dtype).MoveToOuterDisposeScope();
    }

    public void Dispose()
    {
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
