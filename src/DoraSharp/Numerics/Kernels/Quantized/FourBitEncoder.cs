using System.Numerics;
using System.Runtime.Intrinsics;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Quantizes to four bits: each block divided by its largest absolute value, and each number given the code of the nearest level. Bit for
/// bit what bitsandbytes computes on a CPU.
/// </summary>
/// <remarks>
/// All arithmetic is float32, each operation rounded once. A full block is multiplied by the reciprocal of its scale, a shorter last one is
/// divided by its scale; a number on a threshold takes the lower level.
/// </remarks>
internal static unsafe class FourBitEncoder
{
    /// <summary>The largest block.</summary>
    public const int LargestBlock = 4096;

    private const float LeastScale = 1e-38f;
    private const uint Infinity = 0x7F800000;

    /// <summary>Whether there is an encoder of a tensor.</summary>
    public static bool Serves(Tensor source) =>
        source.dtype is ScalarType.Float32 or ScalarType.BFloat16 or ScalarType.Float16
        && source.device_type == TorchSharp.DeviceType.CPU && source.is_contiguous();

    /// <summary>Quantizes a tensor.</summary>
    /// <param name="source">Any shape, on the CPU without gaps; float32, bfloat16 or float16.</param>
    /// <param name="thresholds">The 15 midpoints between levels, ascending, all within (-1, 1).</param>
    /// <param name="order">The 16 codes in the order of their levels.</param>
    /// <param name="blockSize">The elements of a block: a power of two from 32 to 4096.</param>
    /// <param name="codes">Gets uint8 [⌈n/2⌉], the element with the even index in the upper half of a byte.</param>
    /// <param name="scales">Gets float32 [⌈n/block size⌉].</param>
    /// <param name="path">The instructions to use.</param>
    /// <returns>Whether all elements are finite; where they are not, codes and scales are of no use.</returns>
    public static bool Encode(
        Tensor source, ReadOnlySpan<float> thresholds, ReadOnlySpan<byte> order, int blockSize, Tensor codes, Tensor scales, VectorPath? path = null)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(BitOperations.IsPow2(blockSize) && blockSize is >= 32 and <= LargestBlock, true, nameof(blockSize));
        void* from = (void*)TensorMemory.Address(source);
        ScalarType dtype = source.dtype;
        LevelRanks ranks = new(thresholds, order);
        byte* packed = (byte*)TensorMemory.Address(codes);
        float* target = FloatMemory.Of(scales);
        long count = source.numel();
        long blocks = (count + blockSize - 1) / blockSize;
        VectorPath chosen = path ?? VectorPaths.Best;
        int finite = 1;
        RowBlocks.Run(blocks, blockSize, 1, (first, end) =>
        {
            float* values = stackalloc float[LargestBlock];
            byte* codesOfBlock = stackalloc byte[LargestBlock];
            for (long block = first; block < end; block++)
            {
                long start = block * blockSize;
                int length = (int)Math.Min(blockSize, count - start);
                float* numbers = Widened.Load(from, dtype, start, length, values);
                if (!EncodeBlock(numbers, length, blockSize, ranks, codesOfBlock, packed + (start / 2), out target[block], chosen))
                {
                    Volatile.Write(ref finite, 0);
                }
            }
        });
        return finite == 1;
    }

    private static bool EncodeBlock(float* numbers, int length, int blockSize, in LevelRanks ranks, byte* codes, byte* packed, out float scale, VectorPath path)
    {
        uint largest = LargestBits(numbers, length);
        scale = BitConverter.UInt32BitsToSingle(largest);
        if (length == blockSize)
        {
            ranks.Encode(numbers, length, 1 / MathF.Max(scale, LeastScale), codes, path);
        }
        else
        {
            scale = MathF.Max(scale, LeastScale);
            for (int i = 0; i < length; i++)
            {
                codes[i] = ranks.Encode(numbers[i] / scale);
            }

            if (length % 2 == 1)
            {
                // The spare half byte holds the code of a zero.
                codes[length] = ranks.Encode(0);
            }
        }

        Nibbles.Pack(codes, (length + 1) / 2, packed);
        return largest < Infinity;
    }

    /// <summary>The bits of the largest absolute value: as integers they have the order of the numbers, and those that are not finite come last.</summary>
    private static uint LargestBits(float* numbers, int length)
    {
        Vector256<uint> sizes = Vector256.Create(0x7FFFFFFFu);
        Vector256<uint> even = default;
        Vector256<uint> odd = default;
        int i = 0;
        for (; i <= length - 16; i += 16)
        {
            even = Vector256.Max(even, Vector256.Load((uint*)numbers + i) & sizes);
            odd = Vector256.Max(odd, Vector256.Load((uint*)numbers + i + 8) & sizes);
        }

        Vector256<uint> both = Vector256.Max(even, odd);
        Vector128<uint> four = Vector128.Max(both.GetLower(), both.GetUpper());
        uint largest = Math.Max(Math.Max(four[0], four[1]), Math.Max(four[2], four[3]));
        for (; i < length; i++)
        {
            largest = Math.Max(largest, ((uint*)numbers)[i] & 0x7FFFFFFF);
        }

        return largest;
    }
}
