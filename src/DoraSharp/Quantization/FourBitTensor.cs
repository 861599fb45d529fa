using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A tensor in NF4 or FP4.</summary>
public sealed class FourBitTensor : QuantizedTensor
{
    private readonly CodeMap map;

    /// <summary>Takes the parts, which have been checked and become this object's.</summary>
    /// <param name="codes">Uint8 [⌈n/2⌉, 1].</param>
    /// <param name="scales">Float32 [blocks], or uint8 [blocks] with <paramref name="nested"/>.</param>
    /// <param name="nested">What the scales' codes stand for.</param>
    /// <param name="shape">The shape of what was quantized.</param>
    /// <param name="dtype">Its element type.</param>
    /// <param name="options">How it was quantized.</param>
    internal FourBitTensor(Tensor codes, Tensor scales, NestedScales? nested, IReadOnlyList<long> shape, ScalarType dtype, QuantizationOptions options)
        : base(codes, shape, dtype, options)
    {
        Scales = scales.DetachFromDisposeScope();
        Nested = nested;
        map = CodeMap.Of(options.Format);
    }

    /// <summary>The scale of each block, float32 [blocks]; with double quantization its code, uint8 [blocks]. They stay this object's.</summary>
    public Tensor Scales { get; }

    /// <summary>With double quantization what the codes of <see cref="Scales"/> stand for.</summary>
    public NestedScales? Nested { get; }

    private bool IsOnCpu => Codes.device_type == TorchSharp.DeviceType.CPU;

    private protected override IEnumerable<Tensor> Tensors => Nested is null ? [Codes, Scales] : [Codes, Scales, Nested.Scales];

    /// <summary>Quantizes a tensor that is of floating point and not empty.</summary>
    /// <param name="source">The tensor.</param>
    /// <param name="options">A 4-bit format.</param>
    /// <param name="offset">Double quantization's offset, where it is known; by default the scales' mean.</param>
    internal static FourBitTensor Create(Tensor source, QuantizationOptions options, float? offset = null)
    {
        using var scope = NewDisposeScope();
        (Tensor codes, Tensor scales) = Encode(source, CodeMap.Of(options.Format), options.BlockSize);
        CheckFinite(scales, source);
        NestedScales? nested = null;
        if (options.DoubleQuantization)
        {
            (scales, nested) = NestedScales.Quantize(scales, offset);
        }

        return new(codes, scales, nested, Array.AsReadOnly(source.shape), source.dtype, options);
    }

    /// <summary>The scale of each block, float32 [blocks]: a tensor of the caller's.</summary>
    internal Tensor DecodedScales() => Nested?.Decode(Scales, 0, Scales.numel()) ?? Scales.clone();

    /// <summary>The CPU memory that kernels work on, which lives as long as this object does.</summary>
    internal FourBitMemory Memory() => Nested is { } nested
        ? FourBitMemory.Of(Codes, Scales, nested.Levels.On(CPU).Levels, nested.Scales, nested.Offset, nested.BlockSize, map.Levels, Options.BlockSize, Elements)
        : FourBitMemory.Of(Codes, Scales, map.Levels, Options.BlockSize, Elements);

    internal override Tensor SquaredRowNorms() => IsOnCpu ? FourBitNorms.SquaredRows(Memory(), Shape[0]) : base.SquaredRowNorms();

    private protected override bool TryDecode(Tensor destination, long first, long width, Tensor? rowGain)
    {
        if (!IsOnCpu || !FourBitDecoder.Serves(destination.dtype))
        {
            return false;
        }

        if (rowGain is null)
        {
            FourBitDecoder.Decode(Memory(), first, destination);
            return true;
        }

        using Tensor rows = destination.view(-1, width);
        FourBitDecoder.DecodeRows(Memory(), first / width, rows, rowGain);
        return true;
    }

    private protected override Tensor Decode(long first, long count)
    {
        using var scope = NewDisposeScope();
        int blockSize = Options.BlockSize;
        return BlockSpan.Decode(first, count, Elements, blockSize, (start, length) =>
        {
            long block = start / blockSize, blocks = BlockSpan.Count(length, blockSize);
            Tensor scales = Nested?.Decode(Scales, block, blocks) ?? Scales.narrow(0, block, blocks);
            return FourBitCodec.Dequantize(Codes, scales, map, blockSize, start, length);
        }).MoveToOuterDisposeScope();
    }

    private static (Tensor Codes, Tensor Scales) Encode(Tensor source, CodeMap map, int blockSize)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor dense = source.detach().contiguous();
        dense = dense.dtype == ScalarType.Float64 ? dense.to(ScalarType.Float32) : dense;
        if (!FourBitEncoder.Serves(dense))
        {
            (Tensor theCodes, Tensor theScales) = FourBitCodec.Quantize(dense, map, blockSize);
            return (theCodes.MoveToOuterDisposeScope(), theScales.MoveToOuterDisposeScope());
        }

        long elements = dense.numel();
        Tensor codes = empty([(elements + 1) / 2, 1], ScalarType.Byte), scales = empty([BlockSpan.Count(elements, blockSize)], ScalarType.Float32);
        FourBitEncoder.Encode(dense, map.Thresholds, map.Order, blockSize, codes, scales);
        return (codes.MoveToOuterDisposeScope(), scales.MoveToOuterDisposeScope());
    }

    private protected override QuantizedTensor Copy(Func<Tensor, Tensor> copy) =>
        new FourBitTensor(copy(Codes), copy(Scales), Nested?.Copy(copy), Shape, DType, Options);
}
