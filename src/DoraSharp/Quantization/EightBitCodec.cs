using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Blocks of 8-bit codes, by operations that every device has.</summary>
internal static class EightBitCodec
{
    /// <summary>Quantizes a tensor of any shape.</summary>
    /// <param name="source">The tensor.</param>
    /// <param name="map">The levels.</param>
    /// <param name="blockSize">The number of elements that share a scale.</param>
    /// <param name="binned">
    /// Whether a number takes the code of its bin, one of 65536 between -1 and 1, rather than the nearest code: the rule of
    /// bitsandbytes on a CPU, which loses what is less than 1.5e-5 of a block's scale.
    /// </param>
    /// <returns>Codes: uint8 in the source's shape. Scales: float32 [blocks], not finite where the source is not.</returns>
    public static (Tensor Codes, Tensor Scales) Quantize(Tensor source, CodeMap map, int blockSize, bool binned)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor flat = source.detach().flatten();
        long total = flat.numel();
        Tensor codes = empty([total], ScalarType.Byte, source.device);
        Tensor scales = empty([BlockSpan.Count(total, blockSize)], ScalarType.Float32, source.device);
        for (long start = 0; start < total; start += BlockSpan.Piece)
        {
            using var piece = NewDisposeScope();
            long count = Math.Min(BlockSpan.Piece, total - start);
            (Tensor someCodes, Tensor someScales) = QuantizePiece(flat.narrow(0, start, count).to(ScalarType.Float32), map.On(source.device), blockSize, binned);
            codes.narrow(0, start, count).copy_(someCodes);
            scales.narrow(0, start / blockSize, someScales.shape[0]).copy_(someScales);
        }

        return (codes.view(source.shape).MoveToOuterDisposeScope(), scales.MoveToOuterDisposeScope());
    }

    /// <summary>The float32 values of the elements from <paramref name="first"/> on, [count]; from the first element of a block.</summary>
    /// <param name="codes">What <see cref="Quantize"/> gave.</param>
    /// <param name="scales">The scales of these elements' blocks, float32.</param>
    /// <param name="map">The levels.</param>
    /// <param name="blockSize">The number of elements that share a scale.</param>
    /// <param name="first">Where to begin.</param>
    /// <param name="count">How many elements.</param>
    public static Tensor Dequantize(Tensor codes, Tensor scales, CodeMap map, int blockSize, long first, long count)
    {
        using var scope = NewDisposeScope();
        Tensor indices = codes.view(-1).narrow(0, first, count).to(ScalarType.Int32);
        return BlockSpan.Scale(map.On(codes.device).Levels.index_select(0, indices), scales, blockSize).MoveToOuterDisposeScope();
    }

    private static (Tensor Codes, Tensor Scales) QuantizePiece(Tensor values, CodeMapTensors map, int blockSize, bool binned)
    {
        long total = values.numel();
        long missing = (BlockSpan.Count(total, blockSize) * blockSize) - total;
        Tensor blocks = (missing == 0 ? values : cat([values, zeros(missing, device: values.device)])).view(-1, blockSize);
        Tensor largest = blocks.abs().amax([1L], keepdim: true);

        // A scale so small that its reciprocal overflows makes 0·∞ of a zero.
        Tensor normal = (blocks * largest.reciprocal()).nan_to_num_(0).clamp_(-1, 1);
        Tensor codes = binned
            ? map.Bins.index_select(0, ((normal + 1) * 0.5f * 65535f + 0.5f).to(ScalarType.Int32).view(-1)).view(blocks.shape).mul_(largest.ne(0))
            : map.Order.index_select(0, normal.view(-1).bucketize(map.Thresholds, outInt32: true));
        return (codes.view(-1).narrow(0, 0, total), largest.view(-1));
    }
}
