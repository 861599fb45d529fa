using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A tensor in the 8-bit dynamic type, with a scale per block. Each element takes the nearest code, which is finer than
/// bitsandbytes' rule on a CPU and decodes alike. bitsandbytes: <c>quantize_blockwise</c>.
/// </summary>
public sealed class Blockwise8Tensor : QuantizedTensor
{
    internal Blockwise8Tensor(Tensor codes, Tensor scales, IReadOnlyList<long> shape, ScalarType dtype, QuantizationOptions options)
        : base(codes, shape, dtype, options) => Scales = scales.DetachFromDisposeScope();

    /// <summary>The scale of each block, float32 [blocks]. They stay this object's.</summary>
    public Tensor Scales { get; }

    private protected override IEnumerable<Tensor> Tensors => [Codes, Scales];

    /// <summary>Quantizes a tensor that is of floating point and not empty.</summary>
    internal static Blockwise8Tensor Create(Tensor source, QuantizationOptions options)
    {
        using var scope = NewDisposeScope();
        (Tensor codes, Tensor scales) = EightBitCodec.Quantize(source, CodeMap.DynamicSigned, options.BlockSize, binned: false);
        CheckFinite(scales, source);
        return new(codes, scales, Array.AsReadOnly(source.shape), source.dtype, options);
    }

    private protected override Tensor Decode(long first, long count)
    {
        using var scope = NewDisposeScope();
        int blockSize = Options.BlockSize;
        return BlockSpan.Decode(first, count, Elements, blockSize, (start, length) =>
            EightBitCodec.Dequantize(Codes, Scales.narrow(0, start / blockSize, BlockSpan.Count(length, blockSize)), CodeMap.DynamicSigned, blockSize, start, length))
            .MoveToOuterDisposeScope();
    }

    private protected override QuantizedTensor Copy(Func<Tensor, Tensor> copy) => new Blockwise8Tensor(copy(Codes), copy(Scales), Shape, DType, Options);
}
