using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The 4-bit formats, bit for bit what bitsandbytes computes, by operations that every device has.</summary>
/// <remarks>
/// All arithmetic is float32, each operation rounded once. A full block is multiplied by the reciprocal of its scale, a shorter
/// last one is divided by its scale. The element with the even index is in the upper half of a byte.
/// </remarks>
internal static class FourBitCodec
{
    /// <summary>The least divisor, which keeps a block of zeros from a division by zero.</summary>
    private const float LeastScale = 1e-38f;

    /// <summary>Quantizes a tensor of any shape.</summary>
    /// <returns>Codes: uint8 [⌈n/2⌉, 1]. Scales: float32 [blocks], not finite where the source is not.</returns>
    public static (Tensor Codes, Tensor Scales) Quantize(Tensor source, CodeMap map, int blockSize)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor flat = source.detach().flatten();
        long total = flat.numel();
        Tensor codes = empty([(total + 1) / 2, 1], ScalarType.Byte, source.device);
        Tensor scales = empty([BlockSpan.Count(total, blockSize)], ScalarType.Float32, source.device);
        for (long start = 0; start < total; start += BlockSpan.Piece)
        {
            using var piece = NewDisposeScope();
            long count = Math.Min(BlockSpan.Piece, total - start);
            (Tensor someCodes, Tensor someScales) = QuantizePiece(flat.narrow(0, start, count).to(ScalarType.Float32), map.On(source.device), map.Zero, blockSize);
            codes.narrow(0, start / 2, someCodes.shape[0]).copy_(someCodes);
            scales.narrow(0, start / blockSize, someScales.shape[0]).copy_(someScales);
        }

        return (codes.MoveToOuterDisposeScope(), scales.MoveToOuterDisposeScope());
    }

    /// <summary>The float32 values of the elements from <paramref name="first"/> on, [count]; from the first element of a block.</summary>
    /// <param name="codes">What <see cref="Quantize"/> gave.</param>
    /// <param name="scales">The scales of these elements' blocks, float32.</param>
    /// <param name="map">The format's levels.</param>
    /// <param name="blockSize">The number of elements that share a scale.</param>
    /// <param name="first">Where to begin.</param>
    /// <param name="count">How many elements.</param>
    public static Tensor Dequantize(Tensor codes, Tensor scales, CodeMap map, int blockSize, long first, long count)
    {
        using var scope = NewDisposeScope();
        Tensor bytes = codes.view(-1).narrow(0, first / 2, (count + 1) / 2).to(ScalarType.Int32);
        Tensor levels = map.On(codes.device).Pairs.index_select(0, bytes).view(-1).narrow(0, 0, count);
        return BlockSpan.Scale(levels, scales, blockSize).MoveToOuterDisposeScope();
    }

    private static (Tensor Codes, Tensor Scales) QuantizePiece(Tensor values, CodeMapTensors map, byte zero, int blockSize)
    {
        long total = values.numel(), whole = total / blockSize * blockSize;
        List<Tensor> codes = [], scales = [];
        if (whole > 0)
        {
            Tensor blocks = values.narrow(0, 0, whole).view(-1, blockSize);
            Tensor largest = blocks.abs().amax(1L);
            scales.Add(largest);
            codes.Add(Codes(blocks * largest.clamp(min: LeastScale).reciprocal().unsqueeze(1), map));
        }

        if (whole < total)
        {
            Tensor tail = values.narrow(0, whole, total - whole);
            Tensor largest = tail.abs().amax([0L], keepdim: true).clamp_(min: LeastScale);
            scales.Add(largest);
            codes.Add(Codes(tail / largest, map));
        }

        if (total % 2 == 1)
        {
            codes.Add(full(1, zero, dtype: ScalarType.Byte, device: values.device));
        }

        Tensor pairs = cat(codes).view(-1, 2);
        return (pairs.narrow(1, 0, 1).mul(16).add_(pairs.narrow(1, 1, 1)), cat(scales));
    }

    /// <summary>The codes of values in units of their scale: by how many thresholds lie below each.</summary>
    private static Tensor Codes(Tensor values, CodeMapTensors map) =>
        map.Order.index_select(0, values.clamp_(-1, 1).flatten().bucketize(map.Thresholds, outInt32: true));
}
