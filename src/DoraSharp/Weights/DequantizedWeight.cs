using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A dense weight that takes a quantized one's place for a while. The quantized one's bits stay untouched.</summary>
internal sealed class DequantizedWeight : WeightReplacement
{
    private readonly QuantizedWeight weight;
    private readonly QuantizedLayer layer;
    private readonly Tensor dense;

    /// <summary>Takes the dense weight.</summary>
    /// <param name="weight">The weight that is going to be replaced.</param>
    /// <param name="layer">Its layer.</param>
    /// <param name="matrix">The new weight in the layer's own layout, which becomes this object's.</param>
    /// <param name="bias">As for the base class.</param>
    public DequantizedWeight(QuantizedWeight weight, QuantizedLayer layer, Tensor matrix, Tensor? bias)
        : base(weight, bias)
    {
        (this.weight, this.layer) = (weight, layer);
        dense = (matrix.dtype == weight.DType ? matrix : matrix.to(weight.DType)).DetachFromDisposeScope();
    }

    public override Tensor Original => layer.Weight.Codes;

    public override Tensor OriginalMatrix() => weight.ToMatrix(layer.Weight);

    public override void Dispose()
    {
        dense.Dispose();
        base.Dispose();
    }

    protected override void Put()
    {
        layer.ShowDense(dense);
        weight.Invalidate();
    }

    protected override void PutBack()
    {
        layer.ShowQuantized();
        weight.Invalidate();
    }
}
