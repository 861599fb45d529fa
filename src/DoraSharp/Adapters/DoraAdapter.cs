using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// DoRA (arXiv 2402.09353): V ← g ⊙ (V + s·B·A) with g = m/‖W + s·B·A‖ per output row of the frozen W.
/// The magnitude m is trained; the norm is a constant in the backward pass (paper §4.3).
/// </summary>
/// <remarks>
/// The paper writes a norm per column of W [in, out]; of TorchSharp's (and PyTorch's) [out, in] these are the rows,
/// which the authors' code and PEFT norm as well. m starts as ‖W + s·B·A‖, so that a fresh adapter changes nothing.
/// A row that is zero stays zero, whatever its magnitude.
/// </remarks>
public sealed class DoraAdapter : LoraAdapter
{
    private const string NameOfMagnitude = "lora_magnitude_vector";

    private readonly VersionedCache norm = new();
    [ComponentName(Name = NameOfMagnitude)]
    private readonly Parameter magnitude;

    internal DoraAdapter(LoraOptions options, FrozenWeight weight)
        : base(nameof(DoraAdapter), options, weight)
    {
        using Tensor start = Norm(weight);
        magnitude = (Parameter)new Parameter(start.clone()).DetachFromDisposeScope();
        RegisterComponents();
    }

    /// <summary>The magnitude m of the output rows, [out].</summary>
    public Parameter Magnitude => magnitude;

    internal override IReadOnlyList<KeyValuePair<string, Parameter>> FileTensors =>
        [.. base.FileTensors, new(NameOfMagnitude, magnitude)];

    internal override Tensor FoldOutput(Tensor y, Tensor x, FoldContext fold)
    {
        Tensor gain = Gain(fold.Weight);
        Tensor dropped = Dropped(x, fold);
        if (Options.DropoutPlacement == DropoutPlacement.Peft && Drops(fold))
        {
            Tensor product = fold.ProductSoFar(dropped);
            return y + ((gain - 1) * product) + (gain * Update(zeros_like(product), dropped));
        }

        Tensor updated = Update(y, dropped);

        // The bias is never scaled. In this form a gain of exactly 1 gives back y bit for bit.
        return fold.Bias is { } bias
            ? addcmul((1 - gain) * bias.to(updated.dtype), gain, updated, 1)
            : gain * updated;
    }

    internal override Tensor FoldRows(Tensor v, long firstRow, FrozenWeight weight)
    {
        Tensor gain = Gain(weight).narrow(0, firstRow, v.shape[0]).to(v.dtype);
        return base.FoldRows(v, firstRow, weight) * gain.unsqueeze(1);
    }

    internal override void Invalidate() => norm.Clear();

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            norm.Dispose();
        }

        base.Dispose(disposing);
    }

    /// <summary>n = ‖W + s·B·A‖, [out], kept until W, A or B changes.</summary>
    private Tensor Norm(FrozenWeight weight) =>
        norm.GetOrCompute([weight.Source, A, B], () => RowNorms.OfUpdated(weight, A, B, Options.Scaling));

    /// <summary>g = m/n, [out]; 0 where n is 0. Only m gets a gradient.</summary>
    private Tensor Gain(FrozenWeight weight)
    {
        Tensor n = Norm(weight);
        Tensor zero = n.eq(0);
        return (magnitude / n.masked_fill(zero, 1)).masked_fill(zero, 0);
    }
}
