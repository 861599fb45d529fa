using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A dense weight that is overwritten in its own memory; a copy keeps the original's bits.</summary>
internal sealed class OverwrittenWeight : WeightReplacement
{
    private readonly DenseWeight weight;
    private readonly Tensor bits;
    private readonly Tensor values;

    /// <summary>Copies the present bits.</summary>
    /// <param name="weight">The weight.</param>
    /// <param name="values">What is going to be there, in the layer's own layout.</param>
    /// <param name="bias">As for the base class.</param>
    public OverwrittenWeight(DenseWeight weight, Tensor values, Tensor? bias)
        : base(weight, bias)
    {
        using var noGrad = no_grad();
        this.weight = weight;
        this.values = values.alias().DetachFromDisposeScope();
        bits = weight.Stored.clone().DetachFromDisposeScope();
    }

    public override Tensor Original => bits;

    public override Tensor OriginalMatrix() => weight.ToMatrix(bits);

    public override void Dispose()
    {
        bits.Dispose();
        values.Dispose();
        base.Dispose();
    }

    protected override void Put()
    {
        weight.Overwrite(values);

        // The weight holds them now; the copy is for the way back.
        values.Dispose();
    }

    protected override void PutBack() => weight.Overwrite(bits);
}
