using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The quantized weight of a layer, decoded wherever it is needed and for as long only. What it stands for is rounded to the layer's compute type.</summary>
/// <param name="layer">The layer.</param>
internal sealed class QuantizedWeight(QuantizedLinear layer) : FrozenWeight
{
    public override Parameter Stored => layer.Stored;

    public override string Name => "weight";

    public override long[] Shape => [Outputs, Inputs];

    public override long Outputs => layer.OutFeatures;

    public override long Inputs => layer.InFeatures;

    public override ScalarType DType => layer.ComputeType;

    public override Device Device => Stored.device;

    public override Parameter? Bias => layer.Bias;

    public override bool IsReplacedInPlace => false;

    public override QuantizationOptions Quantization => layer.Weight.Options;

    public override Tensor Product(Tensor x) => layer.Dense is { } dense
        ? nn.functional.linear(x.to(dense.dtype), dense).to(x.dtype)
        : QuantizedStep.Apply(x, layer.Weight, bias: null, DType);

    public override Tensor BackProduct(Tensor outputGradient, Tensor stored) =>
        stored.is_floating_point() ? outputGradient.mm(stored) : QuantizedProduct.Backward(outputGradient, Of(stored));

    public override Tensor Rows(long first, long count, ScalarType dtype)
    {
        if (layer.Dense is { } dense)
        {
            using Tensor rows = dense.narrow(0, first, count);
            return rows.to(dtype);
        }

        Tensor decoded = empty([count, Inputs], dtype, Device);
        layer.Weight.DequantizeRows(first, count, decoded);
        return decoded;
    }

    public override Tensor Rows(Tensor indices, ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        long[] rows = indices.to(ScalarType.Int64).cpu().data<long>().ToArray();
        Tensor decoded = empty([rows.Length, Inputs], dtype, Device);
        for (int i = 0; i < rows.Length; i++)
        {
            using var rowScope = NewDisposeScope();
            decoded.narrow(0, i, 1).copy_(Rows(rows[i], 1, dtype));
        }

        return decoded.MoveToOuterDisposeScope();
    }

    public override Tensor Project(Tensor a)
    {
        if (layer.Dense is not null)
        {
            return base.Project(a);
        }

        using var noGrad = no_grad();
        return QuantizedProduct.Project(layer.Weight, a);
    }

    public override Tensor Dense() => ToMatrix(Stored);

    public override Tensor ToMatrix(Tensor stored) => stored.is_floating_point() ? stored.alias() : Of(stored).Dequantize(DType);

    public override Tensor FromMatrix(Tensor matrix) => matrix;

    public override WeightReplacement Replace(Tensor matrix, Tensor? bias, bool requantize) =>
        requantize ? new RequantizedWeight(this, layer, matrix, bias) : new DequantizedWeight(this, layer, matrix, bias);

    public override WeightReplacement Replace(QuantizedTensor quantized) => new RequantizedWeight(this, layer, quantized);

    private protected override Tensor ComputeSquaredRowNorms() => layer.Dense is null ? layer.Weight.SquaredRowNorms() : base.ComputeSquaredRowNorms();

    /// <summary>The weight with these codes.</summary>
    private QuantizedTensor Of(Tensor codes) => TensorMemory.Address(codes) == TensorMemory.Address(layer.Weight.Codes)
        ? layer.Weight
        : throw new InvalidOperationException("The quantized weight was replaced or moved between the forward and the backward pass.");
}
