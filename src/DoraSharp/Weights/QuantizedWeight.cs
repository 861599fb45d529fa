using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The quantized weight of a layer, decoded wherever it is needed and for as long only. What it stands for is rounded to the layer's compute type.</summary>
/// <param name="layer">The layer.</param>
/// <param name="layout">How the weight relates to the matrix W: as its rows, or transposed.</param>
internal sealed class QuantizedWeight(QuantizedLayer layer, WeightLayout layout) : FrozenWeight
{
    public QuantizedWeight(QuantizedLinear layer)
        : this(layer, WeightLayout.RowMajor)
    {
    }

    public override Parameter Stored => layer.Stored;

    public override Tensor[] Sources => layer.Sources;

    public override string Name => "weight";

    public override long[] Shape => [.. layer.Weight.Shape];

    public override long Outputs => layout.MatrixShape(Shape).Outputs;

    public override long Inputs => layout.MatrixShape(Shape).Inputs;

    public override ScalarType DType => layer.ComputeType;

    public override Device Device => Stored.device;

    public override Parameter? Bias => layer.get_parameter("bias");

    public override QuantizationOptions Quantization => layer.Weight.Options;

    public override bool IsReplacedInPlace => false;

    private bool IsTransposed => layout != WeightLayout.RowMajor;

    public override Tensor Product(Tensor x) => layer.Dense is not null || IsTransposed
        ? x.to(DType).matmul(Dense().t()).to(x.dtype)
        : QuantizedStep.Apply(x, layer.Weight, bias: null, DType);

    public override Tensor BackProduct(Tensor outputGradient, Tensor stored) => stored.is_floating_point() || IsTransposed
        ? base.BackProduct(outputGradient, stored)
        : QuantizedProduct.Backward(outputGradient, Of(stored));

    public override Tensor Rows(long first, long count, ScalarType dtype)
    {
        if (layer.Dense is not null || IsTransposed)
        {
            using var scope = NewDisposeScope();
            Tensor stored = layer.Dense ?? layer.Weight.Dequantize(dtype);
            return layout.ToMatrix(stored).narrow(0, first, count).to(dtype).MoveToOuterDisposeScope();
        }

        Tensor decoded = empty([count, Inputs], dtype, Device);
        layer.Weight.DequantizeRows(first, count, decoded);
        return decoded;
    }

    public override Tensor Rows(Tensor indices, ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        return (layer.Dense is not null || IsTransposed
            ? Rows(0, Outputs, dtype).index_select(0, indices)
            : QuantizedRows.Of(layer.Weight, indices.to(ScalarType.Int64), dtype)).MoveToOuterDisposeScope();
    }

    public override Tensor Project(Tensor a)
    {
        using var noGrad = no_grad();
        return layer.Dense is not null ? base.Project(a)
            : IsTransposed ? SumOverStoredRows((rows, first) => rows.t().mm(a.narrow(1, first, rows.shape[0]).t()), a.dtype)
            : QuantizedProduct.Project(layer.Weight, a);
    }

    public override Tensor Dense() => ToMatrix(Stored);

    public override Tensor ToMatrix(Tensor stored) => stored.is_floating_point() ? layout.ToMatrix(stored) : ToMatrix(Of(stored));

    /// <summary>A weight of the layer's layout as a matrix [out, in] in its compute type.</summary>
    public Tensor ToMatrix(QuantizedTensor weight) => layout.ToMatrix(weight.Dequantize(DType));

    public override Tensor FromMatrix(Tensor matrix) => layout.FromMatrix(matrix, Shape);

    public override WeightReplacement Replace(Tensor matrix, Tensor? bias, bool requantize)
    {
        Tensor stored = FromMatrix(matrix).contiguous();
        return requantize ? new RequantizedWeight(this, layer, stored, bias) : new DequantizedWeight(this, layer, stored, bias);
    }

    public override WeightReplacement Replace(QuantizedTensor quantized) => new RequantizedWeight(this, layer, quantized);

    private protected override Tensor ComputeSquaredRowNorms() => layer.Dense is not null ? base.ComputeSquaredRowNorms()
        : IsTransposed ? SumOverStoredRows((rows, _) => rows.square().sum(dim: 0), ScalarType.Float64)
        : layer.Weight.SquaredRowNorms();

    /// <summary>The weight with these codes.</summary>
    private QuantizedTensor Of(Tensor codes) => TensorMemory.Address(codes) == TensorMemory.Address(layer.Weight.Codes)
        ? layer.Weight
        : throw new InvalidOperationException("The quantized weight was replaced or moved between the forward and the backward pass.");

    /// <summary>Adds up what blocks of the stored rows, which are columns of W, give.</summary>
    private Tensor SumOverStoredRows(Func<Tensor, long, Tensor> map, ScalarType dtype)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        (long rows, long columns) = (Shape[0], Shape[1]);
        long step = Math.Clamp((1 << 20) / columns, 1, rows);
        Tensor? sum = null;
        for (long first = 0; first < rows; first += step)
        {
            using var block = NewDisposeScope();
            Tensor decoded = empty([Math.Min(step, rows - first), columns], dtype, Device);
            layer.Weight.DequantizeRows(first, decoded.shape[0], decoded);
            Tensor part = map(decoded, first);
            sum = sum is null ? part.MoveToOuterDisposeScope() : sum.add_(part);
        }

        return sum!.MoveToOuterDisposeScope();
    }
}
