using static TorchSharp.torch;

namespace DoraSharp.Tests.Quantization;

public class QuantizedTensorTests
{
    public static TheoryData<QuantizationFormat, int, bool> Kinds => new()
    {
        { QuantizationFormat.Nf4, 64, true },
        { QuantizationFormat.Nf4, 32, false },
        { QuantizationFormat.Nf4, 4096, true },
        { QuantizationFormat.Fp4, 128, true },
        { QuantizationFormat.Fp4, 64, false },
        { QuantizationFormat.Int8Rows, 64, false },
        { QuantizationFormat.Blockwise8, 256, false },
    };

    [Theory]
    [MemberData(nameof(Kinds))]
    public void DequantizeRows_AnyRangeAndType_IsPartOfTheWhole(QuantizationFormat format, int blockSize, bool doubled)
    {
        using var scope = NewDisposeScope();
        using QuantizedTensor quantized = QuantizedTensor.Quantize(Weight(97, 333), new() { Format = format, BlockSize = blockSize, DoubleQuantization = doubled });
        Tensor whole = quantized.Dequantize();
        Tensor gain = rand(97, generator: new Generator(3));

        foreach ((long first, long count) in ((long, long)[])[(0, 97), (5, 1), (11, 40), (96, 1)])
        {
            foreach (ScalarType dtype in (ScalarType[])[ScalarType.Float32, ScalarType.BFloat16, ScalarType.Float16, ScalarType.Float64])
            {
                Tensor rows = full([count, 333], 7, dtype: dtype);
                quantized.DequantizeRows(first, count, rows);
                Reference.SameBits(rows, whole.narrow(0, first, count).to(dtype)).Should().BeTrue($"{first}+{count} in {dtype}");
                quantized.DequantizeRows(first, count, rows, gain);
                Reference.SameBits(rows, (whole * gain.unsqueeze(1)).narrow(0, first, count).to(dtype)).Should().BeTrue($"{first}+{count} with gain in {dtype}");
            }
        }

        Reference.MaxRelativeError(quantized.SquaredRowNorms(), whole.to(ScalarType.Float64).square().sum(dim: 1)).Should().BeLessThan(1e-14);
    }

    [Theory]
    [InlineData(QuantizationFormat.Nf4, 64)]
    [InlineData(QuantizationFormat.Fp4, 4096)]
    [InlineData(QuantizationFormat.Int8Rows, 64)]
    [InlineData(QuantizationFormat.Blockwise8, 256)]
    public void Quantize_LargerThanOnePiece_EqualsItsParts(QuantizationFormat format, int blockSize)
    {
        using var scope = NewDisposeScope();
        QuantizationOptions options = new() { Format = format, BlockSize = blockSize, DoubleQuantization = false };
        Tensor weight = Weight(3, BlockSpan.Piece / 2);
        using QuantizedTensor whole = QuantizedTensor.Quantize(weight, options);

        for (int row = 0; row < 3; row++)
        {
            using QuantizedTensor part = QuantizedTensor.Quantize(weight.narrow(0, row, 1), options);
            Reference.SameBits(whole.Codes.view(3, -1)[row], part.Codes.view(-1)).Should().BeTrue();
            Reference.SameBits(whole.Dequantize().narrow(0, row, 1), part.Dequantize()).Should().BeTrue();
        }
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Quantize_OddSizesViewsAndOtherTypes_GiveTheSameAsTheirContiguousFloat32(QuantizationFormat format, int blockSize, bool doubled)
    {
        using var scope = NewDisposeScope();
        QuantizationOptions options = new() { Format = format, BlockSize = blockSize, DoubleQuantization = doubled };
        foreach (Tensor source in (Tensor[])[Weight(7, 13), Weight(13, 7).t(), Weight(1, 1), Weight(5, 67).to(ScalarType.BFloat16), Weight(5, 67).to(ScalarType.Float16), Weight(5, 67).to(ScalarType.Float64), zeros(3, 50)])
        {
            using QuantizedTensor quantized = QuantizedTensor.Quantize(source, options);
            using QuantizedTensor plain = QuantizedTensor.Quantize(source.to(ScalarType.Float32).contiguous(), options);
            Tensor values = quantized.Dequantize();

            values.dtype.Should().Be(source.dtype);
            values.requires_grad.Should().BeFalse();
            quantized.Shape.Should().Equal(source.shape);
            Reference.SameBits(values, plain.Dequantize(source.dtype)).Should().BeTrue();
            double bound = options.IsFourBit ? 0.18 : 0.03;
            (source - values).to(ScalarType.Float64).abs().max().item<double>().Should().BeLessThanOrEqualTo(bound * source.to(ScalarType.Float64).abs().max().item<double>());
        }
    }

    [Theory]
    [InlineData(QuantizationFormat.Nf4)]
    [InlineData(QuantizationFormat.Fp4)]
    public void Quantize_ItsOwnValues_KeepsThem(QuantizationFormat format)
    {
        using var scope = NewDisposeScope();
        QuantizationOptions options = new() { Format = format, DoubleQuantization = false };
        using QuantizedTensor quantized = QuantizedTensor.Quantize(Weight(31, 67), options);
        using QuantizedTensor again = QuantizedTensor.Quantize(quantized.Dequantize(), options);

        Reference.SameBits(again.Dequantize(), quantized.Dequantize()).Should().BeTrue();
    }

    [Theory]
    [InlineData(QuantizationFormat.Nf4, true, 4.127)]
    [InlineData(QuantizationFormat.Nf4, false, 4.5)]
    [InlineData(QuantizationFormat.Fp4, true, 4.127)]
    [InlineData(QuantizationFormat.Blockwise8, false, 8.5)]
    [InlineData(QuantizationFormat.Int8Rows, false, 8.03125)]
    public void BitsPerParameter_LargeMatrix_IsTheFormats(QuantizationFormat format, bool doubled, double bits)
    {
        using var scope = NewDisposeScope();
        using QuantizedTensor quantized = QuantizedTensor.Quantize(Weight(512, 1024), new() { Format = format, DoubleQuantization = doubled });

        quantized.BitsPerParameter.Should().BeApproximately(bits, 5e-4);
        quantized.Bytes.Should().Be((long)(quantized.BitsPerParameter * 512 * 1024 / 8));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void CloneAndTo_Disposed_LeaveTheOriginal(QuantizationFormat format, int blockSize, bool doubled)
    {
        using var scope = NewDisposeScope();
        QuantizationOptions options = new() { Format = format, BlockSize = blockSize, DoubleQuantization = doubled };
        using QuantizedTensor quantized = QuantizedTensor.Quantize(Weight(9, 130), options);
        Tensor expected = quantized.Dequantize();
        foreach (Func<QuantizedTensor> copy in (Func<QuantizedTensor>[])[quantized.Clone, () => quantized.To(CPU)])
        {
            QuantizedTensor other = copy();
            Reference.SameBits(other.Dequantize(), expected).Should().BeTrue();
            other.Codes.zero_();
            other.Dispose();
        }

        Reference.SameBits(quantized.Dequantize(), expected).Should().BeTrue();
        quantized.Device.type.Should().Be(TorchSharp.DeviceType.CPU);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void EveryOperation_ManyTimes_LeavesNoTensor(QuantizationFormat format, int blockSize, bool doubled)
    {
        using Tensor weight = Weight(70, 129), destination = empty(20, 129), gain = ones(70);
        long before = 0;
        for (int step = 0; step < 4; step++)
        {
            using QuantizedTensor quantized = QuantizedTensor.Quantize(weight, new() { Format = format, BlockSize = blockSize, DoubleQuantization = doubled });
            quantized.Dequantize(ScalarType.BFloat16).Dispose();
            quantized.DequantizeRows(3, 20, destination);
            quantized.DequantizeRows(3, 20, destination, gain);
            quantized.SquaredRowNorms().Dispose();
            quantized.Clone().Dispose();
            before = step == 0 ? LiveTensors.Count : before;
            LiveTensors.Count.Should().Be(before);
        }
    }

    [Fact]
    public void Quantize_InADisposeScope_OutlivesIt()
    {
        QuantizedTensor quantized;
        using (NewDisposeScope())
        {
            quantized = QuantizedTensor.Quantize(Weight(5, 300));
        }

        using (quantized)
        using (Tensor values = quantized.Dequantize())
        {
            values.shape.Should().Equal(5, 300);
        }
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Quantize_BadInput_IsRefusedWithTheReasonAndLeavesNothing(QuantizationFormat format, int blockSize, bool doubled)
    {
        using var scope = NewDisposeScope();
        QuantizationOptions options = new() { Format = format, BlockSize = blockSize, DoubleQuantization = doubled };
        Tensor weight = Weight(3, 200);
        using (QuantizedTensor.Quantize(weight, options))
        {
        }

        foreach (float bad in (float[])[float.NaN, float.PositiveInfinity, float.NegativeInfinity])
        {
            Tensor spoiled = weight.clone();
            spoiled[1, 150] = bad;
            long before = LiveTensors.Count;
            Refused(spoiled, "*NaN*");
            LiveTensors.Count.Should().Be(before);
        }

        Refused(full([2, 2], 1e300, dtype: ScalarType.Float64), "*infinite*");
        Refused(zeros(0, 4), "*[0, 4]*no elements*");
        Refused(zeros(3, 4, dtype: ScalarType.Int64), "*Int64*float32*");
        Refused(zeros(3, 4, dtype: ScalarType.Byte), "*Byte*float32*");
        if (format == QuantizationFormat.Int8Rows)
        {
            Refused(zeros(3, 4, 5), "*Int8Rows*[3, 4, 5]*");
            Refused(full([2, 2], 7e4), "*65504*");
        }

        using QuantizedTensor good = QuantizedTensor.Quantize(weight, options);
        FluentActions.Invoking(() => good.Dequantize(ScalarType.Int32)).Should().Throw<ArgumentException>().WithMessage("*Int32*float32*");

        void Refused(Tensor source, string message) =>
            FluentActions.Invoking(() => QuantizedTensor.Quantize(source, options)).Should().Throw<ArgumentException>().WithMessage(message);
    }

    private static Tensor Weight(long rows, long columns) => randn([rows, columns], generator: new Generator(11)) * 0.05;
}
