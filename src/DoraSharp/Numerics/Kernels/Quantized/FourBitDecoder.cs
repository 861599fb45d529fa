using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Decodes packed weights: level times scale in float32, times the row's gain if there is one, then rounded to nearest even. Every path gives
/// the same bits.
/// </summary>
/// <remarks>The sixteen values that a block can have are computed once for the block; what is left for its elements is a table lookup.</remarks>
internal static unsafe class FourBitDecoder
{
    /// <summary>The bytes of codes that a block of work begins at.</summary>
    private const long Grain = 1 << 10;

    /// <summary>Whether there is a decoder to an element type.</summary>
    public static bool Serves(ScalarType dtype) =>
        dtype is ScalarType.Float32 or ScalarType.BFloat16 or ScalarType.Float16 or ScalarType.Float64;

    /// <summary>Decodes the elements from <paramref name="first"/> on until the target is full, on several threads.</summary>
    /// <param name="source">The weight.</param>
    /// <param name="first">The first element, anywhere in a block.</param>
    /// <param name="target">On the CPU without gaps; float32, bfloat16, float16 or float64.</param>
    /// <param name="path">The instructions to use.</param>
    /// <exception cref="ArgumentException">The target is not such a tensor, or the weight has fewer elements.</exception>
    public static void Decode(in FourBitMemory source, long first, Tensor target, VectorPath? path = null) =>
        Share(source, first, target, default, path);

    /// <summary>Decodes the rows of a matrix from <paramref name="first"/> on until the target is full, on several threads.</summary>
    /// <param name="source">The weight [rows, width].</param>
    /// <param name="first">The first row.</param>
    /// <param name="target">[count, width] on the CPU without gaps; float32, bfloat16, float16 or float64.</param>
    /// <param name="gain">float32 [rows]: a factor for each row of the weight, if there is one.</param>
    /// <param name="path">The instructions to use.</param>
    /// <exception cref="ArgumentException">The target is not such a tensor, or the weight or the gain have fewer rows.</exception>
    public static void DecodeRows(in FourBitMemory source, long first, Tensor target, Tensor? gain = null, VectorPath? path = null)
    {
        long width = target.shape[^1];
        if (gain is not null && (!FloatMemory.Serves(gain) || gain.numel() < first + target.shape[0]))
        {
            throw new ArgumentException($"{first + target.shape[0]} rows need as many contiguous float32 factors on the CPU.", nameof(gain));
        }

        Share(source, first * width, target, gain is null ? default : new(FloatMemory.Of(gain), width), path);
    }

    /// <summary>Decodes the elements [first, first + count) to float32 on this thread.</summary>
    public static void DecodeHere(in FourBitMemory source, long first, long count, float* target, RowGain gain = default, VectorPath? path = null) =>
        Choose<float, Float32Element>(source, first, count, target, gain, path ?? VectorPaths.Best);

    private static void Share(FourBitMemory source, long first, Tensor target, RowGain gain, VectorPath? path)
    {
        long count = target.numel();
        if (first < 0 || first > source.Count - count)
        {
            throw new ArgumentOutOfRangeException(nameof(first), first, $"The weight has {source.Count} elements, of which {count} from {first} on were asked for.");
        }

        if (target.device_type != DeviceType.CPU || !target.is_contiguous())
        {
            throw new ArgumentException("Packed weights are decoded into contiguous memory of the CPU.", nameof(target));
        }

        ScalarType dtype = target.dtype;
        void* memory = (void*)TensorMemory.Address(target);
        VectorPath chosen = path ?? VectorPaths.Best;
        RowBlocks.Run(count, 1, Grain, (from, end) => Part(source, first + from, end - from, memory, from, dtype, gain, chosen));
    }

    private static void Part(in FourBitMemory source, long first, long count, void* target, long offset, ScalarType dtype, RowGain gain, VectorPath path)
    {
        switch (dtype)
        {
            case ScalarType.Float32:
                Choose<float, Float32Element>(source, first, count, (float*)target + offset, gain, path);
                break;
            case ScalarType.BFloat16:
                Choose<ushort, BFloat16Element>(source, first, count, (ushort*)target + offset, gain, path);
                break;
            case ScalarType.Float16:
                Choose<ushort, Float16Element>(source, first, count, (ushort*)target + offset, gain, path);
                break;
            case ScalarType.Float64:
                Choose<double, Float64Element>(source, first, count, (double*)target + offset, gain, path);
                break;
            default:
                throw new ArgumentException($"Packed weights are decoded to float32, bfloat16, float16 or float64, not to {dtype}.", nameof(dtype));
        }
    }

    private static void Choose<T, TElement>(in FourBitMemory source, long first, long count, T* target, RowGain gain, VectorPath path)
        where T : unmanaged
        where TElement : IDecodedElement<T>
    {
        switch (path)
        {
            case VectorPath.Vector512:
                Run<T, TElement, Lookup512>(source, first, count, target, gain);
                break;
            case VectorPath.Vector256:
                Run<T, TElement, Lookup256>(source, first, count, target, gain);
                break;
            default:
                Run<T, TElement, ScalarLookup>(source, first, count, target, gain);
                break;
        }
    }

    /// <summary>Piece by piece: as far as block and row go on.</summary>
    private static void Run<T, TElement, TLookup>(in FourBitMemory source, long first, long count, T* target, RowGain gain)
        where T : unmanaged
        where TElement : IDecodedElement<T>
        where TLookup : ILevelLookup<TLookup>
    {
        T* table = stackalloc T[FourBitMemory.LevelCount];
        TLookup lookup = TLookup.Create(source);
        ScaleMemory scales = source.Scales;
        Vector256<float> lowerLevels = source.LowerLevels;
        Vector256<float> upperLevels = source.UpperLevels;
        byte* codes = source.Codes;
        long end = first + count;
        for (long i = first; i < end;)
        {
            float scale = scales[source.Block(i)];
            float factor = 1;
            long stop = Math.Min(end, source.BlockEnd(i));
            if (gain.Exists)
            {
                long row = gain.Row(i);
                stop = Math.Min(stop, gain.RowEnd(row));
                factor = gain.Of(row);
            }

            TElement.Round(lowerLevels * scale * factor, upperLevels * scale * factor, table);
            T* to = target + (i - first);
            if ((i & 1) == 1)
            {
                *to++ = table[codes[i >> 1] & 15];
                i++;
            }

            long bytes = (stop - i) >> 1;
            long done = lookup.Run(codes + (i >> 1), bytes, table, scale, factor, to);
            if (i + (2 * done) < stop)
            {
                ScalarLookup.Run(codes + (i >> 1) + done, bytes - done, table, to + (2 * done));
                if (((stop - i) & 1) == 1)
                {
                    to[2 * bytes] = table[codes[stop >> 1] >> 4];
                }
            }

            i = stop;
        }
    }
}
