using static TorchSharp.torch;

namespace DoraSharp.Tests.Numerics.Kernels.Quantized;

public class FourBitEncoderTests
{
    public static TheoryData<string> Cases => [.. FourBitCase.Names];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Encode_BitsandbytesCases_GivesItsBytesOnEveryPath(string name)
    {
        int compared = 0;
        FourBitCase.ForEach(name, entry =>
        {
            Tensor source = entry.Read("source");
            foreach (VectorPath path in VectorPaths.Available)
            {
                (Tensor codes, Tensor scales, bool isFinite) = Encode(source, entry.Levels, entry.Order, entry.BlockSize, path);

                isFinite.Should().BeTrue();
                Reference.SameBits(codes, entry.Read("packed").flatten()).Should().BeTrue($"codes of {entry.Key} by {path}");
                Reference.SameBits(scales, entry.Read("absmax")).Should().BeTrue($"scales of {entry.Key} by {path}");
                compared++;
            }
        });
        compared.Should().BeGreaterThan(20);
    }

    [Theory]
    [InlineData(1, 32, ScalarType.Float32)]
    [InlineData(4096 * 3, 4096, ScalarType.Float16)]
    [InlineData((64 * 4099) + 17, 64, ScalarType.Float32)]
    [InlineData((64 * 2011) + 62, 64, ScalarType.BFloat16)]
    public void Encode_AnyCount_GivesEachNumberTheNearestLevel(long count, int blockSize, ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        float[] levels = [.. Enumerable.Range(0, 16).Select(k => (float)Math.Tanh((k - 7.3) / 4))];
        levels = [.. levels.Select(level => level / levels.Max(MathF.Abs))];
        byte[] order = [.. Enumerable.Range(0, 16).Select(k => (byte)k)];
        Tensor source = randn(count, generator: new Generator(4)).to(dtype);
        foreach (VectorPath path in VectorPaths.Available)
        {
            (Tensor codes, Tensor scales, bool isFinite) = Encode(source, levels, order, blockSize, path);

            isFinite.Should().BeTrue();
            Tensor numbers = source.to(ScalarType.Float64);
            Tensor scaleOfEach = scales.repeat_interleave(blockSize).narrow(0, 0, count).to(ScalarType.Float64);
            Tensor candidates = tensor(levels).to(ScalarType.Float64).unsqueeze(0) * scaleOfEach.unsqueeze(1);
            Tensor least = (candidates - numbers.unsqueeze(1)).abs().amin([1L]);
            Tensor decoded = empty(count);
            FourBitDecoder.Decode(FourBitMemory.Of(codes, scales, levels, blockSize, count), 0, decoded);
            Tensor excess = ((decoded.to(ScalarType.Float64) - numbers).abs() - least) / scaleOfEach;

            excess.max().item<double>().Should().BeLessThan(2e-7, $"by {path}");
        }
    }

    [Theory]
    [InlineData(float.NaN, 0)]
    [InlineData(float.PositiveInfinity, 70)]
    [InlineData(float.NegativeInfinity, 127)]
    [InlineData(float.NaN, 131)]
    public void Encode_NotFinite_SaysSo(float value, long at)
    {
        using var scope = NewDisposeScope();
        byte[] order = [.. Enumerable.Range(0, 16).Select(k => (byte)k)];
        float[] levels = [.. Enumerable.Range(0, 16).Select(k => (k - 7.5f) / 7.5f)];
        foreach (ScalarType dtype in (ScalarType[])[ScalarType.Float32, ScalarType.BFloat16, ScalarType.Float16])
        {
            Tensor source = randn(133, generator: new Generator(5));
            Encode(source.to(dtype), levels, order, 64, VectorPaths.Best).IsFinite.Should().BeTrue();
            source[at] = value;
            Encode(source.to(dtype), levels, order, 64, VectorPaths.Best).IsFinite.Should().BeFalse($"{dtype}");
        }
    }

    private static (Tensor Codes, Tensor Scales, bool IsFinite) Encode(Tensor source, float[] levels, byte[] order, int blockSize, VectorPath path)
    {
        float[] thresholds = [.. order.Zip(order[1..], (lower, upper) => (levels[lower] + levels[upper]) * 0.5f)];
        long count = source.numel();
        Tensor codes = empty((count + 1) / 2, dtype: ScalarType.Byte);
        Tensor scales = empty((count + blockSize - 1) / blockSize);
        return (codes, scales, FourBitEncoder.Encode(source.contiguous(), thresholds, order, blockSize, codes, scales, path));
    }
}
