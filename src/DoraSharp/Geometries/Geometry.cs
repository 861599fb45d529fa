using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// How an input meets a weight: what "W x" means for a kind of layer. An adapter's factors A and B meet the input in the
/// same way, A like the layer's own weight and B as a linear map of the features.
/// </summary>
/// <remarks>
/// Adapters hold matrices: A [r, in], B [out, r], m [out], over the matrix W [out, in] of the weight. What else a kind of
/// layer needs, and how PEFT's files name and shape the factors, is said here.
/// </remarks>
internal abstract class Geometry : IDisposable
{
    /// <summary>The kind of layer.</summary>
    public abstract LayerKind Kind { get; }

    /// <summary>Whether dropout can act on the layer's own input.</summary>
    public virtual bool DropsInput => true;

    /// <summary>How many experts share one pair of factors.</summary>
    public virtual long Experts => 1;

    /// <summary>The dimension of inputs and outputs along which a batch's samples lie.</summary>
    public virtual int SampleDimension => 0;

    /// <summary>Whether the layer's own forward writes into its weight, so that <see cref="Product"/> has to take its place.</summary>
    public virtual bool ForwardWritesWeight => false;

    /// <summary>Why the layer's own forward on a merged weight would not give the adapted output; <see langword="null"/> if it does.</summary>
    public virtual string? WhyNotMergeable => null;

    /// <summary>Why the layer's own forward cannot run on an effective weight in place of its own; <see langword="null"/> if it can.</summary>
    public virtual string? WhyNotSubstitutable => null;

    /// <summary>Throws unless an adapter with these options can stand beside the layer's others.</summary>
    /// <exception cref="ArgumentException">It cannot.</exception>
    public virtual void CheckOptions(AdapterOptions options)
    {
    }

    /// <summary>Throws unless the layer takes such an input.</summary>
    /// <exception cref="ArgumentException">It does not.</exception>
    public virtual void CheckInput(Tensor x)
    {
    }

    /// <summary>An input and an output of the layer in the form that the other members take.</summary>
    public abstract (Tensor X, Tensor Z) Canonical(Tensor x, Tensor z, FrozenWeight weight);

    /// <summary>W x without bias, in x's dtype.</summary>
    public abstract Tensor Product(Tensor x, FrozenWeight weight);

    /// <summary>A x.</summary>
    /// <param name="x">A canonical input.</param>
    /// <param name="a">A [r, in].</param>
    /// <param name="dropout">The probability with which elements of x are dropped.</param>
    public abstract Tensor Down(Tensor x, Tensor a, double dropout);

    /// <summary>y + B h.</summary>
    /// <param name="y">A canonical output.</param>
    /// <param name="h">What <see cref="Down"/> gave.</param>
    /// <param name="b">B in the shape of <see cref="ShapeOfB"/>.</param>
    public abstract Tensor AddUp(Tensor y, Tensor h, Tensor b);

    /// <summary>A value per output feature, [out], in the shape in which it meets canonical outputs.</summary>
    public abstract Tensor PerOutput(Tensor v);

    /// <summary>The shape of B as it is trained; [out, r] unless the layer has groups.</summary>
    public virtual long[] ShapeOfB(long outputs, int rank) => [outputs, rank];

    /// <summary>The shape of A as it is trained; [r, in].</summary>
    public virtual long[] ShapeOfA(long inputs, int rank) => [rank, inputs];

    /// <summary>v + s·B·A, for rows of the matrix.</summary>
    /// <param name="v">Rows of the matrix, [rows, in].</param>
    /// <param name="firstRow">The index of the first of these rows.</param>
    /// <param name="a">A [r, in].</param>
    /// <param name="b">B as it is trained.</param>
    /// <param name="scaling">s.</param>
    public virtual Tensor AddUpdate(Tensor v, long firstRow, Tensor a, Tensor b, double scaling) =>
        addmm(v, MatrixB(b).narrow(0, firstRow, v.shape[0]).to(v.dtype).mul(scaling), a.to(v.dtype), 1, 1);

    /// <summary>B as the matrix [out, r] whose product with A is the update.</summary>
    public virtual Tensor MatrixB(Tensor b) => b;

    /// <summary>How often the update is added.</summary>
    public virtual int TimesAdded(LoraOptions options) => 1;

    /// <summary>The name and shape of a factor in PEFT's files.</summary>
    /// <param name="part">Which factor it is.</param>
    /// <param name="shape">Its shape as it is trained.</param>
    public virtual (string Name, long[] Shape) InFile(FactorPart part, long[] shape) => part switch
    {
        FactorPart.A => ("lora_A.weight", shape),
        FactorPart.B => ("lora_B.weight", shape),
        FactorPart.BiasOfB => ("lora_B.bias", shape),
        FactorPart.Magnitude => ("lora_magnitude_vector", shape),
        _ => throw new ArgumentOutOfRangeException(nameof(part), part, "Unknown part."),
    };

    public virtual void Dispose()
    {
    }
}
