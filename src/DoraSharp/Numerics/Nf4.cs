using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// NF4, the 4-bit number format of QLoRA (arXiv 2305.14314): blocks of a weight, each divided by its largest absolute
/// value, with 16 levels that are quantiles of a normal distribution. Bit for bit what bitsandbytes computes.
/// </summary>
/// <remarks>
/// Blocks run over the flattened row-major tensor; the last may be shorter. All arithmetic is float32, each operation
/// rounded once. A full block is multiplied by the reciprocal of its scale, the shorter last one is divided by its scale.
/// </remarks>
internal static class Nf4
{
    /// <summary>The usual number of elements that share a scale.</summary>
    public const int DefaultBlockSize = 64;

    /// <summary>The least scale, which keeps a block of zeros from a division by zero.</summary>
    private const float LeastScale = 1e-38f;

    /// <summary>What each code stands for, ascending (arXiv 2305.14314, appendix E).</summary>
    private static readonly float[] Levels =
    [
        -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
        -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
        0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
        0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f,
    ];

    /// <summary>The midpoints between neighbouring levels; a value on one takes the lower level.</summary>
    private static readonly float[] Thresholds = [.. Levels.Zip(Levels.Skip(1), (lower, upper) => (lower + upper) * 0.5f)];

    /// <summary>Quantizes a tensor.</summary>
    /// <param name="source">Any shape; float64 (rounded to float32 first), float32, bfloat16 or float16.</param>
    /// <param name="blockSize">The number of elements that share a scale; even.</param>
    /// <returns>
    /// Packed: uint8 [⌈n/2⌉, 1], the element with the even index in the upper half of a byte.
    /// Scales: float32 [⌈n/blockSize⌉], the largest absolute value of each block.
    /// </returns>
    /// <exception cref="ArgumentException">The tensor has an element that is not finite, which would spoil its whole block.</exception>
    public static (Tensor Packed, Tensor Scales) Quantize(Tensor source, int blockSize = DefaultBlockSize)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(blockSize, 2);
        if (!Finite.All(source))
        {
            throw new ArgumentException("A tensor with NaN or infinite values cannot be quantized: one of them makes its whole block useless.", nameof(source));
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor flat = source.to(ScalarType.Float32).flatten();
        long full = flat.numel() / blockSize * blockSize;
        Tensor blocks = flat.narrow(0, 0, full).reshape(-1, blockSize);
        Tensor scales = LargestOfRows(blocks);
        Tensor codes = Codes(blocks * scales.clamp(min: LeastScale).reciprocal().unsqueeze(1));
        if (full < flat.numel())
        {
            Tensor tail = flat.narrow(0, full, flat.numel() - full).unsqueeze(0);
            Tensor scale = LargestOfRows(tail).clamp_(min: LeastScale);
            codes = cat([codes, Codes(tail / scale)]);
            scales = cat([scales, scale]);
        }

        return (Pack(codes).MoveToOuterDisposeScope(), scales.MoveToOuterDisposeScope());
    }

    /// <summary>The tensor that codes and scales stand for.</summary>
    /// <param name="packed">What <see cref="Quantize"/> gave.</param>
    /// <param name="scales">The blocks' scales.</param>
    /// <param name="shape">The tensor's shape.</param>
    /// <param name="dtype">Its element type: the float32 values are rounded to it.</param>
    /// <param name="blockSize">The number of elements that share a scale.</param>
    public static Tensor Dequantize(Tensor packed, Tensor scales, ReadOnlySpan<long> shape, ScalarType dtype, int blockSize = DefaultBlockSize)
    {
        long count = 1;
        foreach (long size in shape)
        {
            count *= size;
        }

        if (packed.numel() != (count + 1) / 2 || scales.numel() != (count + blockSize - 1) / blockSize)
        {
            throw new ArgumentException($"{packed.numel()} bytes and {scales.numel()} scales are not those of {count} elements in blocks of {blockSize}.", nameof(packed));
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor bytes = packed.flatten().to(ScalarType.Int32);
        Tensor codes = stack([bytes.floor_divide(16), bytes.remainder(16)], dim: 1).flatten().narrow(0, 0, count);
        Tensor levels = tensor(Levels, device: packed.device).index_select(0, codes);
        Tensor scaleOfEach = scales.repeat_interleave(blockSize).narrow(0, 0, count);
        return (levels * scaleOfEach).to(dtype).reshape(shape.ToArray()).MoveToOuterDisposeScope();
    }

    /// <summary>The tensor as it is after quantization, in its own dtype.</summary>
    public static Tensor RoundTrip(Tensor source, int blockSize = DefaultBlockSize)
    {
        using var scope = NewDisposeScope();
        (Tensor packed, Tensor scales) = Quantize(source, blockSize);
        return Dequantize(packed, scales, source.shape, source.dtype, blockSize).MoveToOuterDisposeScope();
    }

    private static Tensor LargestOfRows(Tensor rows) => rows.shape[0] == 0 ? zeros(0, device: rows.device) : rows.abs().amax(1L);

    /// <summary>The codes of values in units of their scale: how many thresholds lie below each.</summary>
    private static Tensor Codes(Tensor values) =>
        values.clamp_(-1, 1).flatten().bucketize(tensor(Thresholds, device: values.device), outInt32: true);

    private static Tensor Pack(Tensor codes)
    {
        if (codes.numel() % 2 == 1)
        {
            // The spare half byte holds the code of a zero.
            codes = cat([codes, full(1, Array.IndexOf(Levels, 0f), dtype: codes.dtype, device: codes.device)]);
        }

        Tensor pairs = codes.reshape(-1, 2);
        return pairs.narrow(1, 0, 1).mul(16).add_(pairs.narrow(1, 1, 1)).to(ScalarType.Byte);
    }
}
