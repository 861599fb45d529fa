using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A matrix [out, in] in 8-bit integers, with a scale per row (LLM.int8, arXiv 2208.07339, without its outlier columns).
/// bitsandbytes: the weight of <c>Linear8bitLt</c>.
/// </summary>
public sealed class Int8RowsTensor : QuantizedTensor
{
    /// <summary>1/127 as bitsandbytes writes it.</summary>
    private const float Unit = 0.007874015718698502f;

    internal Int8RowsTensor(Tensor codes, Tensor scales, IReadOnlyList<long> shape, ScalarType dtype, QuantizationOptions options)
        : base(codes, shape, dtype, options) => Scales = scales.DetachFromDisposeScope();

    /// <summary>The largest absolute value of each row, float32 [out]. They stay this object's.</summary>
    public Tensor Scales { get; }

    private protected override IEnumerable<Tensor> Tensors => [Codes, Scales];

    /// <summary>Quantizes a tensor that is of floating point and not empty.</summary>
    internal static Int8RowsTensor Create(Tensor source, QuantizationOptions options)
    {
        if (source.dim() != 2)
        {
            throw new ArgumentException($"{options.Format} quantizes matrices; this tensor is [{string.Join(", ", source.shape)}].", nameof(source));
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        long outputs = source.shape[0], inputs = source.shape[1];
        Tensor codes = empty([outputs, inputs], ScalarType.Int8, source.device);
        Tensor scales = empty([outputs], ScalarType.Float32, source.device);
        long step = Math.Clamp(BlockSpan.Piece / inputs, 1, outputs);
        for (long row = 0; row < outputs; row += step)
        {
            using var piece = NewDisposeScope();
            long rows = Math.Min(step, outputs - row);
            Tensor values = source.detach().narrow(0, row, rows).to(ScalarType.Float16).to(ScalarType.Float32);
            Tensor largest = values.abs().amax([1L], keepdim: true);
            scales.narrow(0, row, rows).copy_(largest.view(-1));
            codes.narrow(0, row, rows).copy_((values * (tensor(127f, device: source.device) / largest)).nan_to_num_(0).round_());
        }

        if (!Finite.All(scales))
        {
            throw new ArgumentException($"{options.Format} rounds to float16 first, and values of this tensor are NaN, infinite, or larger than 65504.", nameof(source));
        }

        return new(codes, scales, Array.AsReadOnly(source.shape), source.dtype, options);
    }

    private protected override Tensor Decode(long first, long count)
    {
        using var scope = NewDisposeScope();
        long inputs = Shape[1];
        return BlockSpan.Decode(first, count, Elements, inputs, (start, length) =>
        {
            Tensor values = Codes.view(-1).narrow(0, start, length).to(ScalarType.Float32);
            return BlockSpan.Scale(values, Scales.narrow(0, start / inputs, length / inputs), inputs).mul_(Unit);
        }).MoveToOuterDisposeScope();
    }

    private protected override QuantizedTensor Copy(Func<Tensor, Tensor> copy) => new Int8RowsTensor(copy(Codes), copy(Scales), Shape, DType, Options);
}
