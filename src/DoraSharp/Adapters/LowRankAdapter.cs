using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// An adapter whose update is a product s·B·A of low rank: V ← V + s·B·A. With a magnitude m it is decomposed (DoRA,
/// arXiv 2402.09353): V ← g ⊙ (V + s·B·A) with g = m/‖W + s·B·A‖ per output row of the frozen W, the norm a constant in
/// the backward pass (paper §4.3).
/// </summary>
/// <remarks>
/// The paper writes a norm per column of W [in, out]; of TorchSharp's (and PyTorch's) [out, in] these are the rows,
/// which the authors' code and PEFT norm as well. m starts as ‖W + s·B·A‖, so that a fresh adapter changes nothing.
/// A row that is zero stays zero, whatever its magnitude.
/// </remarks>
public abstract class LowRankAdapter : Adapter
{
    private const string NameOfMagnitude = "lora_magnitude_vector";

    /// <summary>The share of its bias below which a row's norm counts as rounded away.</summary>
    private const double Drowned = 1e-4;

    private readonly VersionedCache norm = new();
    private readonly VersionedCache drowned = new();
    private readonly VersionedValue<RowGains> gains = new(static gains => gains.Share());
    private double scale = 1;

    private protected LowRankAdapter(string name, AdapterOptions options, Geometry geometry)
        : base(name, options) => Geometry = geometry;

    /// <inheritdoc/>
    public override ScalarType DType => Sources[0].dtype;

    /// <summary>The magnitude m of the output rows, [out]; <see langword="null"/> unless the adapter is decomposed (DoRA).</summary>
    public Parameter? Magnitude => get_parameter(NameOfMagnitude);

    /// <summary>The factor s of the update as it is now: that of the options times <see cref="Scale"/>.</summary>
    public double Scaling => InitialScaling * Scale;

    /// <summary>What the scaling of the options is multiplied by; 1 unless it was rescaled.</summary>
    public double Scale
    {
        get => scale;
        internal set
        {
            scale = double.IsFinite(value) ? value : throw new ArgumentOutOfRangeException(nameof(value), value, "A scale must be finite.");
            Invalidate();
        }
    }

    internal Geometry Geometry { get; }

    /// <summary>The scaling that the options give.</summary>
    internal abstract double InitialScaling { get; }

    /// <summary>The tensors that the factors are made of.</summary>
    internal abstract Tensor[] Sources { get; }

    internal override IReadOnlyList<FileTensor> FileTensors => Magnitude is { } magnitude ? [InFile(FactorPart.Magnitude, magnitude)] : [];

    /// <summary>A [r, in] and B as they meet inputs, differentiable.</summary>
    internal abstract (Tensor A, Tensor B) Factors();

    internal override Tensor FoldOutput(Tensor y, Tensor x, FoldContext fold)
    {
        double dropout = fold.Drops ? Options.Dropout : 0;
        if (Magnitude is not { } magnitude)
        {
            return Update(y, x, dropout, fold.Geometry);
        }

        Tensor gain = Gain(magnitude, fold.Weight);
        Tensor gains = fold.Geometry.PerOutput(gain);
        if (dropout > 0 && Options.DropoutPlacement == DropoutPlacement.Peft && fold.Geometry.DropsInput)
        {
            Tensor dropped = InputDropout.Apply(x, dropout);
            Tensor product = fold.ProductSoFar(dropped);
            return y + ((gains - 1) * product) + (gains * Update(zeros_like(product), dropped, dropout: 0, fold.Geometry));
        }

        if (fold.Bias is not { } bias)
        {
            return gains * Update(y, x, dropout, fold.Geometry);
        }

        // The bias is never scaled. In this form a gain of exactly 1 gives back y bit for bit.
        Tensor offset = bias.to(y.dtype);
        Tensor output = addcmul(fold.Geometry.PerOutput((1 - gain) * offset), gains, Update(y, x, dropout, fold.Geometry), 1);
        return DrownedRows(fold.Weight, bias) is { } drowned
            ? where(fold.Geometry.PerOutput(drowned), (gains * Update(fold.ProductSoFar(x), x, dropout, fold.Geometry)) + fold.Geometry.PerOutput(offset), output)
            : output;
    }

    /// <summary>
    /// The output of a linear layer that has this adapter alone, as one step forward and one back (<see cref="LowRankStep"/>);
    /// <see langword="null"/> where only the fold can give it.
    /// </summary>
    /// <param name="x">The layer's input.</param>
    /// <param name="z">The base layer's output for it, which is overwritten.</param>
    /// <param name="weight">The frozen weight.</param>
    /// <param name="drops">Whether dropout acts.</param>
    internal Tensor? FoldAtOnce(Tensor x, Tensor z, FrozenWeight weight, bool drops)
    {
        double dropout = drops ? Options.Dropout : 0;
        Parameter stored = weight.Stored;
        Parameter? magnitude = Magnitude;
        Parameter? bias = weight.Bias;
        bool canSkipFold = Geometry is LinearGeometry && !stored.requires_grad && Bias is null && x.dtype == weight.DType && z.numel() > 0;
        bool needsSecondProduct = magnitude is not null &&
            ((dropout > 0 && Options.DropoutPlacement == DropoutPlacement.Peft) || (bias is not null && DrownedRows(weight, bias) is not null));
        if (!canSkipFold || needsSecondProduct)
        {
            return null;
        }

        (Tensor a, Tensor b) = Factors();
        return LowRankStep.Apply(new(x, z, weight, stored, bias, a, b, Scaling, magnitude, magnitude is null ? null : Gains(magnitude, bias, weight), dropout > 0 ? InputDropout.Next(x, dropout) : null));
    }

    internal override Tensor FoldRows(Tensor v, long firstRow, FrozenWeight weight)
    {
        (Tensor a, Tensor b) = Factors();
        Tensor updated = Geometry.AddUpdate(v, firstRow, a, b, Scaling);
        return Magnitude is { } magnitude
            ? updated * Gain(magnitude, weight).narrow(0, firstRow, v.shape[0]).to(v.dtype).unsqueeze(1)
            : updated;
    }

    internal override void Invalidate()
    {
        norm.Clear();
        drowned.Clear();
        gains.Clear();
    }

    /// <summary>n = ‖W + s·B·A‖, [out], kept until W or a factor changes.</summary>
    internal Tensor Norm(FrozenWeight weight) => norm.GetOrCompute([.. weight.Sources, .. Sources], () =>
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        (Tensor a, Tensor b) = Factors();
        return RowNorms.OfUpdated(weight, a, Geometry.MatrixB(b), Scaling).MoveToOuterDisposeScope();
    });

    /// <summary>
    /// The rows so small that their bias rounds them away in W x + b, which the gradient of m could then not be told from:
    /// [out] of booleans; <see langword="null"/> where there are none, as nearly always.
    /// </summary>
    private Tensor? DrownedRows(FrozenWeight weight, Tensor bias)
    {
        Tensor mask = drowned.GetOrCompute([.. weight.Sources, bias], () =>
        {
            using var noGrad = no_grad();
            using var scope = NewDisposeScope();
            Tensor squared = weight.SquaredRowNorms();
            Tensor rows = squared.sqrt().mul(1 / Drowned).lt(bias.to(ScalarType.Float64).abs()).logical_and(squared.gt(0));
            return (rows.any().item<bool>() ? rows : rows[..0]).MoveToOuterDisposeScope();
        });
        return mask.shape[0] > 0 ? mask : null;
    }

    /// <summary>Gives the adapter a magnitude that changes nothing: ‖W + s·B·A‖. The other parameters stay the same objects.</summary>
    /// <param name="weight">W.</param>
    /// <param name="trains">Whether the magnitude trains.</param>
    internal void AddMagnitude(FrozenWeight weight, bool trains = true)
    {
        using Tensor start = Norm(weight);
        register_parameter(NameOfMagnitude, (Parameter)new Parameter(start.clone(), trains).DetachFromDisposeScope());
    }

    private protected FileTensor InFile(FactorPart part, Parameter parameter)
    {
        (string name, long[] shape) = Geometry.InFile(part, parameter.shape);
        return new(name, parameter, shape);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            norm.Dispose();
            drowned.Dispose();
            gains.Dispose();
        }

        base.Dispose(disposing);
    }

    private RowGains Gains(Parameter magnitude, Parameter? bias, FrozenWeight weight)
    {
        Tensor[] sources = bias is null ? [.. weight.Sources, magnitude, .. Sources] : [.. weight.Sources, magnitude, bias, .. Sources];
        return gains.GetOrCompute(sources, () =>
        {
            using Tensor n = Norm(weight);
            return RowGains.Of(magnitude, n, bias);
        });
    }

    /// <summary>y + s·B·A x.</summary>
    private Tensor Update(Tensor y, Tensor x, double dropout, Geometry geometry)
    {
        (Tensor a, Tensor b) = Factors();
        return geometry.AddUp(y, geometry.Down(x, a, dropout).mul(Scaling), b);
    }

    /// <summary>g = m/n, [out]; 0 where n is 0. Only m gets a gradient.</summary>
    private Tensor Gain(Parameter magnitude, FrozenWeight weight)
    {
        Tensor n = Norm(weight);
        Tensor zero = n.eq(0);
        return (magnitude / n.masked_fill(zero, 1)).masked_fill(zero, 0);
    }
}
