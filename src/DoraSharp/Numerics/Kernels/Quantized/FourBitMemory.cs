using System.Numerics;
using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// The CPU memory of a tensor in a 4-bit format: element i is the level of its code times the scale of block i / block size, in
/// float32. It lives as long as the tensors do that it was taken from.
/// </summary>
internal readonly unsafe struct FourBitMemory
{
    /// <summary>The number of codes of four bits.</summary>
    public const int LevelCount = 16;

    /// <param name="codes">⌈count/2⌉ bytes, the element with the even index in the upper half of each.</param>
    /// <param name="scales">Those of ⌈count/block size⌉ blocks.</param>
    /// <param name="levels">What each of the 16 codes stands for.</param>
    /// <param name="blockSize">The number of elements that share a scale, a power of two.</param>
    /// <param name="count">The number of elements.</param>
    public FourBitMemory(byte* codes, ScaleMemory scales, ReadOnlySpan<float> levels, int blockSize, long count)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(levels.Length, LevelCount);
        ArgumentOutOfRangeException.ThrowIfNotEqual(BitOperations.IsPow2(blockSize), true);
        Codes = codes;
        Scales = scales;
        LowerLevels = Vector256.Create(levels[..8]);
        UpperLevels = Vector256.Create(levels[8..]);
        BlockShift = BitOperations.Log2((uint)blockSize);
        Count = count;
    }

    /// <summary>The packed codes.</summary>
    public byte* Codes { get; }

    /// <summary>The scale of each block.</summary>
    public ScaleMemory Scales { get; }

    /// <summary>What the codes 0 to 7 stand for.</summary>
    public Vector256<float> LowerLevels { get; }

    /// <summary>What the codes 8 to 15 stand for.</summary>
    public Vector256<float> UpperLevels { get; }

    /// <summary>The number of elements.</summary>
    public long Count { get; }

    /// <summary>The number of elements that share a scale.</summary>
    public long BlockSize => 1L << BlockShift;

    /// <summary>Its binary logarithm.</summary>
    public int BlockShift { get; }

    /// <summary>The memory of packed codes (uint8) and scales (float32), all on the CPU and without gaps.</summary>
    /// <exception cref="ArgumentException">They are not, or are too few.</exception>
    public static FourBitMemory Of(Tensor codes, Tensor scales, ReadOnlySpan<float> levels, int blockSize, long count)
    {
        long blocks = Blocks(count, blockSize);
        return new(Bytes(codes, (count + 1) / 2), new(Floats(scales, blocks)), levels, blockSize, count);
    }

    /// <summary>The same with scales that are quantized themselves.</summary>
    /// <param name="codes">uint8 [⌈count/2⌉].</param>
    /// <param name="scaleCodes">uint8 [blocks].</param>
    /// <param name="map">What the scales' codes stand for, float32 [256].</param>
    /// <param name="nestedScales">The scales' scales, float32 [⌈blocks/nestedBlockSize⌉].</param>
    /// <param name="offset">What is added to each scale.</param>
    /// <param name="nestedBlockSize">How many scales share one of their own, a power of two.</param>
    /// <param name="levels">What each of the 16 codes stands for.</param>
    /// <param name="blockSize">The number of elements that share a scale, a power of two.</param>
    /// <param name="count">The number of elements.</param>
    /// <exception cref="ArgumentException">They are not on the CPU without gaps, or are too few.</exception>
    public static FourBitMemory Of(
        Tensor codes, Tensor scaleCodes, Tensor map, Tensor nestedScales, float offset, int nestedBlockSize, ReadOnlySpan<float> levels, int blockSize, long count)
    {
        long blocks = Blocks(count, blockSize);
        ScaleMemory scales = new(
            Bytes(scaleCodes, blocks), Floats(map, 256), Floats(nestedScales, Blocks(blocks, nestedBlockSize)), offset, nestedBlockSize);
        return new(Bytes(codes, (count + 1) / 2), scales, levels, blockSize, count);
    }

    /// <summary>The block of an element.</summary>
    public long Block(long element) => element >> BlockShift;

    /// <summary>The first element behind the block that an element is in.</summary>
    public long BlockEnd(long element) => ((element >> BlockShift) + 1) << BlockShift;

    private static long Blocks(long count, int blockSize) => (count + blockSize - 1) / blockSize;

    private static byte* Bytes(Tensor tensor, long count) =>
        tensor.dtype == ScalarType.Byte && tensor.device_type == DeviceType.CPU && tensor.is_contiguous() && tensor.numel() >= count
            ? (byte*)TensorMemory.Address(tensor)
            : throw new ArgumentException($"{count} contiguous bytes on the CPU are needed; there are {tensor.numel()} elements of {tensor.dtype} on {tensor.device}.");

    private static float* Floats(Tensor tensor, long count) =>
        FloatMemory.Serves(tensor) && tensor.numel() >= count
            ? FloatMemory.Of(tensor)
            : throw new ArgumentException($"{count} contiguous float32 numbers on the CPU are needed; there are {tensor.numel()} elements of {tensor.dtype} on {tensor.device}.");
}
