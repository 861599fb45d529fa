using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A weight that is quantized as the one whose place it takes. The other one is kept as it is.</summary>
internal sealed class RequantizedWeight : WeightReplacement
{
    private readonly QuantizedWeight weight;
    private readonly QuantizedLayer layer;

    /// <summary>The weight that is not the layer's now: the new one, and after <see cref="WeightReplacement.Apply"/> the original.</summary>
    private QuantizedTensor other;
    private bool isApplied;

    /// <summary>Quantizes the new weight.</summary>
    /// <param name="weight">The weight that is going to be replaced.</param>
    /// <param name="layer">Its layer.</param>
    /// <param name="matrix">The new weight in the layer's own layout.</param>
    /// <param name="bias">As for the base class.</param>
    /// <exception cref="ArgumentException">The new weight is not finite.</exception>
    public RequantizedWeight(QuantizedWeight weight, QuantizedLayer layer, Tensor matrix, Tensor? bias)
        : base(weight, bias)
    {
        (this.weight, this.layer) = (weight, layer);
        other = QuantizedParts.WithType(QuantizedTensor.Quantize(matrix, layer.Weight.Options), layer.Weight.DType);
        Error = WeightError.Of(other, matrix);
    }

    /// <summary>Takes a weight that is quantized already; its error is not known.</summary>
    /// <param name="weight">The weight that is going to be replaced.</param>
    /// <param name="layer">Its layer.</param>
    /// <param name="quantized">The new weight, which becomes this object's.</param>
    public RequantizedWeight(QuantizedWeight weight, QuantizedLayer layer, QuantizedTensor quantized)
        : base(weight, newBias: null)
    {
        (this.weight, this.layer) = (weight, layer);
        other = QuantizedParts.WithType(quantized, layer.Weight.DType);
        Error = new();
    }

    /// <summary>How far the new weight is from the matrix that it was made of.</summary>
    public WeightError Error { get; }

    public override Tensor Original => isApplied ? other.Codes : layer.Weight.Codes;

    public override Tensor OriginalMatrix() => weight.ToMatrix(isApplied ? other : layer.Weight);

    public override void Dispose()
    {
        other.Dispose();
        base.Dispose();
    }

    protected override void Put() => Exchange();

    protected override void PutBack() => Exchange();

    private void Exchange()
    {
        other = layer.Exchange(other);
        isApplied = !isApplied;
        weight.Invalidate();
    }
}
