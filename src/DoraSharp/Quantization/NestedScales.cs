using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What the 8-bit codes of a doubly quantized tensor's scales stand for (QLoRA, arXiv 2305.14314, section 3).</summary>
public sealed class NestedScales : IDisposable
{
    /// <summary>The usual number of scales that share a scale of their own.</summary>
    internal const int DefaultBlockSize = 256;

    /// <summary>Takes the parts.</summary>
    /// <param name="scales">Float32 [⌈blocks/BlockSize⌉], which becomes this object's.</param>
    /// <param name="map">The 256 levels of a code.</param>
    /// <param name="offset">What is added to all.</param>
    /// <param name="blockSize">How many scales share one of <paramref name="scales"/>.</param>
    internal NestedScales(Tensor scales, CodeMap map, float offset, int blockSize)
        => (Scales, Levels, Offset, BlockSize) = (scales.DetachFromDisposeScope(), map, offset, blockSize);

    /// <summary>The scales of the scales, float32 [⌈blocks/BlockSize⌉]. They stay this object's.</summary>
    public Tensor Scales { get; }

    /// <summary>What each of the 256 codes stands for, in units of <see cref="Scales"/>.</summary>
    public ReadOnlyMemory<float> Map => Levels.Levels;

    /// <summary>What is added to each scale: the mean of all.</summary>
    public float Offset { get; }

    /// <summary>How many scales share one of <see cref="Scales"/>: 256 in bitsandbytes.</summary>
    public int BlockSize { get; }

    internal CodeMap Levels { get; }

    /// <inheritdoc/>
    public void Dispose() => Scales.Dispose();

    /// <summary>Quantizes scales.</summary>
    /// <param name="scales">Float32 [blocks].</param>
    /// <param name="offset">What to subtract first; by default the mean, whose last bits depend on the order of summation.</param>
    /// <returns>The codes, uint8 [blocks], and the rest.</returns>
    internal static (Tensor Codes, NestedScales Nested) Quantize(Tensor scales, float? offset = null)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        float mean = offset ?? (float)scales.to(ScalarType.Float64).mean().item<double>();
        (Tensor codes, Tensor nested) = EightBitCodec.Quantize(scales - mean, CodeMap.DynamicSigned, DefaultBlockSize, binned: true);
        return (codes.MoveToOuterDisposeScope(), new NestedScales(nested, CodeMap.DynamicSigned, mean, DefaultBlockSize));
    }

    /// <summary>The scales of some blocks, float32 [count].</summary>
    /// <param name="codes">The codes of all, uint8 [blocks].</param>
    /// <param name="first">The first block.</param>
    /// <param name="count">How many blocks.</param>
    internal Tensor Decode(Tensor codes, long first, long count)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor decoded = BlockSpan.Decode(first, count, codes.numel(), BlockSize, (start, length) =>
            EightBitCodec.Dequantize(codes, Scales.narrow(0, start / BlockSize, BlockSpan.Count(length, BlockSize)), Levels, BlockSize, start, length));
        return decoded.add_(Offset).MoveToOuterDisposeScope();
    }

    /// <summary>A copy whose tensors <paramref name="copy"/> makes.</summary>
    internal NestedScales Copy(Func<Tensor, Tensor> copy) => new(copy(Scales), Levels, Offset, BlockSize);
}
