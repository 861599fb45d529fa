using static TorchSharp.torch;

namespace DoraSharp.Tests.Quantization;

public class BitsandbytesTests
{
    [Theory]
    [InlineData("q4-nf4-special-f32")]
    [InlineData("q4-nf4-special-bf16")]
    [InlineData("q4-nf4-special-f16")]
    [InlineData("q4-nf4-blocksizes")]
    [InlineData("q4-fp4-special-f32")]
    [InlineData("q4-fp4-special-bf16")]
    [InlineData("q4-fp4-special-f16")]
    [InlineData("q4-fp4-blocksizes")]
    [InlineData("q4-shapes")]
    [InlineData("q4-row-straddle")]
    public void FourBits_Bitsandbytes_HaveItsBits(string name) => GoldenQuantization.ForEach(name, static golden =>
    {
        using FourBitTensor quantized = (FourBitTensor)QuantizedTensor.Quantize(golden.Source, golden.Options());

        Reference.SameBits(quantized.Codes, golden.Read("packed")).Should().BeTrue($"codes of {golden.Name}");
        Reference.SameBits(quantized.Scales, golden.Read("absmax")).Should().BeTrue($"scales of {golden.Name}");
        golden.CheckDecoded(quantized);
    });

    [Theory]
    [InlineData("nested-nf4")]
    [InlineData("nested-fp4")]
    public void DoubleQuantization_Bitsandbytes_HasItsBits(string name) => GoldenQuantization.ForEach(name, static golden =>
    {
        float offset = golden.Read("nested_offset").item<float>();
        using FourBitTensor quantized = FourBitTensor.Create(golden.Source, golden.Options(doubleQuantization: true), offset);
        using FourBitTensor own = (FourBitTensor)QuantizedTensor.Quantize(golden.Source, golden.Options(doubleQuantization: true));

        Reference.SameBits(quantized.Codes, golden.Read("packed")).Should().BeTrue($"codes of {golden.Name}");
        Reference.SameBits(quantized.Scales, golden.Read("absmax_codes")).Should().BeTrue($"scales of {golden.Name}");
        Reference.SameBits(quantized.Nested!.Scales, golden.Read("nested_absmax")).Should().BeTrue($"scales of the scales of {golden.Name}");
        Reference.SameBits(quantized.DecodedScales(), golden.Read("absmax_decoded")).Should().BeTrue($"decoded scales of {golden.Name}");
        golden.CheckDecoded(quantized);
        own.Nested!.Offset.Should().BeApproximately(offset, Math.Abs(offset) * 2e-7f);
        Reference.RelativeError(own.Dequantize(ScalarType.Float32), golden.Read("dequant_f32")).Should().BeLessThan(1e-6);
    });

    [Theory]
    [InlineData("blockwise8-signed")]
    [InlineData("blockwise8-unsigned")]
    public void EightBitCodec_Bitsandbytes_HasItsBits(string name) => GoldenQuantization.ForEach(name, golden =>
    {
        CodeMap map = name.EndsWith("-unsigned", StringComparison.Ordinal) ? CodeMap.DynamicUnsigned : CodeMap.DynamicSigned;
        int blockSize = golden.Entry.GetProperty("blocksize").GetInt32();
        foreach (bool binned in (bool[])[true, false])
        {
            (Tensor codes, Tensor scales) = EightBitCodec.Quantize(golden.Source, map, blockSize, binned);
            Reference.SameBits(codes, golden.Read(binned ? "codes" : "codes_nearest")).Should().BeTrue($"codes of {golden.Name}, binned {binned}");
            Reference.SameBits(scales, golden.Read("absmax")).Should().BeTrue($"scales of {golden.Name}");
        }

        Tensor expected = golden.Read("dequant_f32");
        EightBitCodec.Dequantize(golden.Read("codes"), golden.Read("absmax"), map, blockSize, 0, expected.numel())
            .eq(expected.flatten()).all().item<bool>().Should().BeTrue();
    });

    [Fact]
    public void Int8Rows_Bitsandbytes_HasItsBits() => GoldenQuantization.ForEach("int8-linear", static golden =>
    {
        using var quantized = (Int8RowsTensor)QuantizedTensor.Quantize(golden.Source, new() { Format = QuantizationFormat.Int8Rows });

        Reference.SameBits(quantized.Codes, golden.Read("state.weight")).Should().BeTrue($"codes of {golden.Name}");
        Reference.SameBits(quantized.Scales, golden.Read("state.SCB")).Should().BeTrue($"scales of {golden.Name}");
        golden.CheckDecoded(quantized);
    });

    [Theory]
    [InlineData("nf4")]
    [InlineData("fp4")]
    [InlineData("dynamic_signed")]
    [InlineData("dynamic_unsigned")]
    public void CodeMap_Bitsandbytes_HasItsBits(string name)
    {
        using var scope = NewDisposeScope();
        using SafetensorsReader maps = SafetensorsReader.Open(SharedFolder.Require("fixtures", "bnb", "maps", "tensors.safetensors"));
        CodeMap map = name switch { "nf4" => CodeMap.Nf4, "fp4" => CodeMap.Fp4, "dynamic_signed" => CodeMap.DynamicSigned, _ => CodeMap.DynamicUnsigned };
        CodeMapTensors tensors = map.On(CPU);

        tensors.Levels.eq(maps.Read(name)).all().item<bool>().Should().BeTrue();
        if (map.Levels.Length == 16)
        {
            Reference.SameBits(tensors.Thresholds, maps.Read($"{name}_thresholds")).Should().BeTrue();
            map.Order.Select(static code => (long)code).Should().Equal(name == "fp4" ? maps.Read("fp4_order").data<long>().ToArray() : Enumerable.Range(0, 16).Select(static code => (long)code));
        }
        else
        {
            byte[] bins = tensors.Bins.data<byte>().ToArray();
            Enumerable.Range(0, 256).Select(code => (long)Array.IndexOf(bins, (byte)code)).Should().Equal(maps.Read($"{name}_lut_start").data<long>().ToArray());
        }
    }
}
