using static TorchSharp.torch;

namespace DoraSharp.Tests.Numerics.Kernels.Quantized;

public class FourBitDecoderTests
{
    private static readonly (string Suffix, ScalarType DType)[] Stored =
        [("f32", ScalarType.Float32), ("bf16", ScalarType.BFloat16), ("f16", ScalarType.Float16)];

    public static TheoryData<string> Cases => [.. FourBitCase.Names];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Decode_BitsandbytesCases_GivesItsBitsOnEveryPath(string name)
    {
        int compared = 0;
        FourBitCase.ForEach(name, entry =>
        {
            foreach ((string suffix, ScalarType dtype) in Stored)
            {
                if (entry.TryRead($"dequant_{suffix}") is not { } expected)
                {
                    continue;
                }

                FourBitMemory memory = FourBitMemory.Of(entry.Read("packed"), entry.Read("absmax"), entry.Levels, entry.BlockSize, expected.numel());
                foreach (VectorPath path in VectorPaths.Available)
                {
                    Tensor actual = empty(expected.shape, dtype: dtype);
                    FourBitDecoder.Decode(memory, 0, actual, path);

                    // Zeros have no sign here; and some processors round to bfloat16 without denormal numbers.
                    Tensor same = actual.eq(expected);
                    if (dtype == ScalarType.BFloat16)
                    {
                        same |= actual.to(ScalarType.Float32).abs().lt(1.17549435e-38f) & expected.to(ScalarType.Float32).abs().lt(1.17549435e-38f);
                    }

                    same.all().item<bool>().Should().BeTrue($"{suffix} of {entry.Key} by {path}");
                    compared++;
                }
            }
        });
        compared.Should().BeGreaterThan(30);
    }

    [Theory]
    [InlineData(1, 1, 32)]
    [InlineData(3, 53, 32)]
    [InlineData(37, 129, 64)]
    [InlineData(64, 128, 64)]
    [InlineData(211, 1030, 256)]
    [InlineData(5, 4099, 4096)]
    public void Decode_AnyShape_GivesTheBitsOfLibtorchOnEveryPath(long rows, long width, int blockSize)
    {
        using var scope = NewDisposeScope();
        RandomWeight weight = new(rows, width, blockSize);
        foreach (VectorPath path in VectorPaths.Available)
        {
            foreach (ScalarType dtype in (ScalarType[])[ScalarType.Float32, ScalarType.BFloat16, ScalarType.Float16, ScalarType.Float64])
            {
                Tensor actual = empty(rows, width, dtype: dtype);
                FourBitDecoder.DecodeRows(weight.Memory, 0, actual, path: path);

                Reference.SameBits(actual, weight.Dense.to(dtype)).Should().BeTrue($"{dtype} by {path}");
            }
        }
    }

    [Fact]
    public void Decode_AnyRange_IsThatPartOfTheWhole()
    {
        using var scope = NewDisposeScope();
        RandomWeight weight = new(7, 53, 32);
        Tensor whole = weight.Dense.flatten();
        foreach (VectorPath path in VectorPaths.Available)
        {
            for (long first = 0; first < 70; first++)
            {
                foreach (long count in (long[])[0, 1, 2, 31, 32, 33, 64, 100, 301])
                {
                    Tensor actual = full(count + 1, 7f, dtype: ScalarType.Float32);
                    FourBitDecoder.Decode(weight.Memory, first, actual.narrow(0, 0, count), path);

                    Reference.SameBits(actual.narrow(0, 0, count), whole.narrow(0, first, count)).Should().BeTrue($"{count} from {first} by {path}");
                    actual[count].item<float>().Should().Be(7, "nothing may be written behind the target");
                }
            }
        }
    }

    [Theory]
    [InlineData(32, 96, 64)]
    [InlineData(41, 127, 64)]
    [InlineData(19, 33, 4096)]
    public void DecodeRows_WithGain_RoundsTheRowsTimesItOnce(long rows, long width, int blockSize)
    {
        using var scope = NewDisposeScope();
        RandomWeight weight = new(rows, width, blockSize);
        Tensor gain = randn(rows, generator: new Generator(2));
        long first = rows / 3;
        long count = rows - first - 2;
        foreach (VectorPath path in VectorPaths.Available)
        {
            foreach (ScalarType dtype in (ScalarType[])[ScalarType.Float32, ScalarType.BFloat16])
            {
                Tensor actual = empty(count, width, dtype: dtype);
                FourBitDecoder.DecodeRows(weight.Memory, first, actual, gain, path);

                Tensor expected = (weight.Dense * gain.unsqueeze(1)).narrow(0, first, count).to(dtype);
                Reference.SameBits(actual, expected).Should().BeTrue($"{dtype} by {path}");
            }
        }
    }

    [Theory]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Float16)]
    public void Decode_TiesDenormalsAndOverflows_AreRoundedAsByLibtorch(ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        float[] levels =
        [
            1, 1 + (1f / 256), 1 + (3f / 256), 1 + (1f / 2048), 1 + (3f / 2048), 1 + (1f / 2048) + 1e-6f, -0f, 0,
            65504, 65519.99f, 65520, float.MaxValue, float.NaN, float.PositiveInfinity, 1.9999f, -1 / 3f,
        ];
        float[] scales = [1, -1, 6.1e-5f, 3e-5f, 5.9604645e-8f, 2.9802322e-8f, 2.99e-8f, 1e-38f, 1e-40f, 8.9406967e-8f, 2048];
        Tensor codes = tensor(Enumerable.Repeat(Enumerable.Range(0, 32), scales.Length).SelectMany(
            block => block.Where(i => i % 2 == 0).Select(i => (byte)(((i % 16) << 4) | ((i + 1) % 16)))).ToArray());
        FourBitMemory memory = FourBitMemory.Of(codes, tensor(scales), levels, 32, scales.Length * 32);
        Tensor expected = (tensor(levels).unsqueeze(0) * tensor(scales).unsqueeze(1)).to(dtype).repeat(1, 2).flatten();
        foreach (VectorPath path in VectorPaths.Available)
        {
            Tensor actual = empty(expected.shape, dtype: dtype);
            FourBitDecoder.Decode(memory, 0, actual, path);

            Tensor bothNan = actual.isnan() & expected.isnan();
            Tensor sameSign = actual.signbit().eq(expected.signbit());
            (bothNan | (actual.eq(expected) & sameSign)).all().item<bool>().Should().BeTrue($"by {path}");
        }
    }

    [Fact]
    public void Decode_Float16OfManyValues_IsRoundedAsByLibtorch()
    {
        using var scope = NewDisposeScope();
        RandomWeight weight = new(1, 1 << 18, 32);
        Tensor scales = pow(2, (rand(1 << 13, generator: new Generator(3)) * 40) - 26);
        Tensor codes = arange(256, dtype: ScalarType.Byte).repeat(1 << 9);
        Tensor levels = tensor(weight.Levels);
        FourBitMemory memory = FourBitMemory.Of(codes, scales, weight.Levels, 32, 1 << 18);
        Tensor each = stack([arange(256).floor_divide(16), arange(256).remainder(16)], dim: 1).flatten().to(ScalarType.Int64).repeat(1 << 9);
        Tensor expected = (levels.index_select(0, each) * scales.repeat_interleave(32)).to(ScalarType.Float16);
        Tensor actual = empty_like(expected);
        FourBitDecoder.Decode(memory, 0, actual);

        Reference.SameBits(actual, expected).Should().BeTrue();
    }

    [Theory]
    [InlineData(-1, 3)]
    [InlineData(0, 51)]
    [InlineData(48, 3)]
    public void Decode_RangeOutsideTheWeight_Throws(long first, long count)
    {
        using var scope = NewDisposeScope();
        RandomWeight weight = new(5, 10, 32);

        FluentActions.Invoking(() => FourBitDecoder.Decode(weight.Memory, first, empty(count)))
            .Should().Throw<ArgumentOutOfRangeException>().WithMessage("*50 elements*");
    }

    [Fact]
    public void Decode_UnfitTarget_Throws()
    {
        using var scope = NewDisposeScope();
        RandomWeight weight = new(6, 10, 32);

        FluentActions.Invoking(() => FourBitDecoder.Decode(weight.Memory, 0, empty(10, 6).t())).Should().Throw<ArgumentException>().WithMessage("*contiguous*");
        FluentActions.Invoking(() => FourBitDecoder.Decode(weight.Memory, 0, empty(6, dtype: ScalarType.Int32))).Should().Throw<ArgumentException>().WithMessage("*Int32*");
        FluentActions.Invoking(() => FourBitDecoder.DecodeRows(weight.Memory, 2, empty(4, 10), empty(5))).Should().Throw<ArgumentException>().WithMessage("*6 rows*");
    }

    [Fact]
    public void Decode_NestedScales_RoundsThemTwice()
    {
        using var scope = NewDisposeScope();
        Generator generator = new(6);
        Tensor codes = randint(0, 256, [3000], dtype: ScalarType.Byte, generator: generator);
        Tensor scaleCodes = randint(0, 256, [188], dtype: ScalarType.Byte, generator: generator);
        Tensor map = randn(256, generator: generator);
        Tensor nested = rand(3, generator: generator);
        float[] levels = [.. randn(16, generator: generator).data<float>()];
        Tensor scales = (map.index_select(0, scaleCodes.to(ScalarType.Int64)) * nested.repeat_interleave(64).narrow(0, 0, 188)) + 0.37f;
        Tensor expected = empty(6000);
        FourBitDecoder.Decode(FourBitMemory.Of(codes, scales, levels, 32, 6000), 0, expected);
        Tensor actual = empty(6000);
        FourBitDecoder.Decode(FourBitMemory.Of(codes, scaleCodes, map, nested, 0.37f, 64, levels, 32, 6000), 0, actual);

        Reference.SameBits(actual, expected).Should().BeTrue();
    }

    [Fact]
    public void Of_TooFewCodesOrScales_Throws()
    {
        using var scope = NewDisposeScope();
        float[] levels = new float[16];

        FluentActions.Invoking(() => FourBitMemory.Of(zeros(10, dtype: ScalarType.Byte), zeros(1), levels, 32, 21)).Should().Throw<ArgumentException>();
        FluentActions.Invoking(() => FourBitMemory.Of(zeros(33, dtype: ScalarType.Byte), zeros(2), levels, 32, 65)).Should().Throw<ArgumentException>();
        FluentActions.Invoking(() => FourBitMemory.Of(zeros(11, dtype: ScalarType.Int8), zeros(1), levels, 32, 21)).Should().Throw<ArgumentException>();
    }
}
