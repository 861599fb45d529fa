using static TorchSharp.torch;

namespace DoraSharp.Tests.Numerics.Kernels.Quantized;

/// <summary>A packed matrix of random codes and scales, and what they stand for by torch operations.</summary>
internal sealed class RandomWeight
{
    private readonly Tensor codes;
    private readonly Tensor scales;

    public RandomWeight(long rows, long width, int blockSize, ulong seed = 1)
    {
        Generator generator = new(seed);
        long count = rows * width;
        (Rows, Width, BlockSize) = (rows, width, blockSize);
        codes = randint(0, 256, [(count + 1) / 2], dtype: ScalarType.Byte, generator: generator);
        scales = rand([(count + blockSize - 1) / blockSize], generator: generator) + 0.01;
        Levels = [.. randn(16, generator: generator).data<float>()];
        Tensor bytes = codes.to(ScalarType.Int64);
        Tensor each = stack([bytes.bitwise_right_shift(tensor(4L)), bytes.bitwise_and(tensor(15L))], dim: 1).flatten().narrow(0, 0, count);
        Dense = (tensor(Levels).index_select(0, each) * scales.repeat_interleave(blockSize).narrow(0, 0, count)).reshape(rows, width);
    }

    public long Rows { get; }

    public long Width { get; }

    public int BlockSize { get; }

    public float[] Levels { get; }

    /// <summary>float32 [rows, width].</summary>
    public Tensor Dense { get; }

    /// <summary>The packed memory: as long as the scope lives in which the weight was made.</summary>
    public FourBitMemory Memory => FourBitMemory.Of(codes, scales, Levels, BlockSize, Rows * Width);
}
