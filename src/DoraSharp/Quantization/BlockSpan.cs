using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Blocks of a flattened tensor: how many there are, and what the elements of a range have to do with them.</summary>
internal static class BlockSpan
{
    /// <summary>How many elements are worked on at a time, a multiple of every block size: what bounds the scratch.</summary>
    public const long Piece = 1 << 20;

    /// <summary>The number of blocks of a tensor; the last one may be shorter.</summary>
    public static long Count(long elements, long blockSize) => (elements + blockSize - 1) / blockSize;

    /// <summary>
    /// Decodes any range of elements. <paramref name="decode"/> gets ranges that begin with a block and end with one or with
    /// the tensor, and gives their values.
    /// </summary>
    public static Tensor Decode(long first, long count, long total, long blockSize, Func<long, long, Tensor> decode)
    {
        long start = first / blockSize * blockSize;
        long end = Math.Min(Count(first + count, blockSize) * blockSize, total);
        return decode(start, end - start).narrow(0, first - start, count);
    }

    /// <summary>Multiplies each block by its scale, in place.</summary>
    /// <param name="values">Float32 [elements], from the first element of a block on.</param>
    /// <param name="scales">Float32 [blocks].</param>
    /// <param name="blockSize">The number of elements that share a scale.</param>
    public static Tensor Scale(Tensor values, Tensor scales, long blockSize)
    {
        long blocks = values.numel() / blockSize, full = blocks * blockSize;
        if (blocks > 0)
        {
            values.narrow(0, 0, full).view(blocks, blockSize).mul_(scales.narrow(0, 0, blocks).unsqueeze(1));
        }

        if (full < values.numel())
        {
            values.narrow(0, full, values.numel() - full).mul_(scales.narrow(0, blocks, 1));
        }

        return values;
    }
}
