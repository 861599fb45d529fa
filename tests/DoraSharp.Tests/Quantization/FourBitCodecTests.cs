using static TorchSharp.torch;

namespace DoraSharp.Tests.Quantization;

/// <summary>The operations that serve every device give the bits of the CPU's kernels.</summary>
public class FourBitCodecTests
{
    [Theory]
    [InlineData(QuantizationFormat.Nf4, 64)]
    [InlineData(QuantizationFormat.Nf4, 32)]
    [InlineData(QuantizationFormat.Fp4, 64)]
    [InlineData(QuantizationFormat.Fp4, 4096)]
    public void Operations_AnyTypeAndTail_EqualTheKernels(QuantizationFormat format, int blockSize)
    {
        CodeMap map = CodeMap.Of(format);
        foreach (ScalarType dtype in (ScalarType[])[ScalarType.Float32, ScalarType.BFloat16, ScalarType.Float16])
        {
            using var scope = NewDisposeScope();
            Tensor source = (randn(301, 577, generator: new Generator(5)) * exp(2 * randn(301, 1, generator: new Generator(6)))).to(dtype);
            using FourBitTensor kernels = FourBitTensor.Create(source, new() { Format = format, BlockSize = blockSize, DoubleQuantization = false });
            (Tensor codes, Tensor scales) = FourBitCodec.Quantize(source, map, blockSize);

            Reference.SameBits(codes, kernels.Codes).Should().BeTrue();
            Reference.SameBits(scales, kernels.Scales).Should().BeTrue();
            Tensor values = FourBitCodec.Dequantize(codes, scales, map, blockSize, 0, source.numel()).view(source.shape);
            values.eq(kernels.Dequantize(ScalarType.Float32)).all().item<bool>().Should().BeTrue();
            Reference.SameBits(values.to(dtype).abs(), kernels.Dequantize().abs()).Should().BeTrue("both round once, to nearest even");
        }
    }

    [Fact]
    public void NestedScales_Decoded_EqualTheKernels()
    {
        using var scope = NewDisposeScope();
        using FourBitTensor quantized = FourBitTensor.Create(randn(301, 577, generator: new Generator(5)), new());
        Tensor values = FourBitCodec.Dequantize(quantized.Codes, quantized.DecodedScales(), CodeMap.Nf4, 64, 0, 301 * 577).view(301, 577);

        Reference.SameBits(values, quantized.Dequantize()).Should().BeTrue();
    }
}
