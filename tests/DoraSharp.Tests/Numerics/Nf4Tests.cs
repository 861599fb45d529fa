using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Numerics;

public class Nf4Tests
{
    [Theory]
    [InlineData("q4-nf4-special-f32")]
    [InlineData("q4-nf4-special-bf16")]
    [InlineData("q4-nf4-special-f16")]
    [InlineData("q4-nf4-blocksizes")]
    [InlineData("q4-shapes")]
    [InlineData("q4-row-straddle")]
    public void QuantizeAndDequantize_BitsandbytesCases_GiveItsBits(string name)
    {
        string folder = SharedFolder.Require("fixtures", "bnb", name);
        using JsonDocument description = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "case.json")));
        using SafetensorsReader tensors = SafetensorsReader.Open(Path.Combine(folder, "tensors.safetensors"));
        int compared = 0;
        foreach (JsonElement entry in description.RootElement.GetProperty("entries").EnumerateArray())
        {
            if (entry.GetProperty("quant_type").GetString() != "nf4")
            {
                continue;
            }

            using var scope = NewDisposeScope();
            string key = entry.GetProperty("name").GetString()!;
            int blockSize = entry.GetProperty("blocksize").GetInt32();
            Tensor source = tensors.Read($"{key}.source");
            (Tensor packed, Tensor scales) = Nf4.Quantize(source, blockSize);

            Reference.SameBits(packed, tensors.Read($"{key}.packed")).Should().BeTrue($"codes of {key}");
            Reference.SameBits(scales, tensors.Read($"{key}.absmax")).Should().BeTrue($"scales of {key}");
            foreach ((string suffix, ScalarType dtype) in ((string, ScalarType)[])[("f32", ScalarType.Float32), ("bf16", ScalarType.BFloat16), ("f16", ScalarType.Float16)])
            {
                if (tensors.TryGetEntry($"{key}.dequant_{suffix}", out _))
                {
                    // Zeros have no sign here; and some processors round to bfloat16 without denormal numbers.
                    Tensor expected = tensors.Read($"{key}.dequant_{suffix}");
                    Tensor actual = Nf4.Dequantize(packed, scales, source.shape, dtype, blockSize);
                    actual.dtype.Should().Be(dtype);
                    actual.shape.Should().Equal(expected.shape);
                    Tensor denormal = expected.to(ScalarType.Float32).abs().lt(1.17549435e-38f) & actual.to(ScalarType.Float32).abs().lt(1.17549435e-38f);
                    bool mayFlush = dtype == ScalarType.BFloat16;
                    (mayFlush ? actual.eq(expected) | denormal : actual.eq(expected)).all().item<bool>().Should().BeTrue($"{suffix} of {key}");
                    compared++;
                }
            }
        }

        compared.Should().BeGreaterThan(8);
    }

    [Fact]
    public void RoundTrip_LevelsOfABlock_AreKept()
    {
        using var scope = NewDisposeScope();
        Tensor once = Nf4.RoundTrip(randn(7, 37, generator: new Generator(1)));
        Reference.SameBits(Nf4.RoundTrip(once), once).Should().BeTrue();
        Nf4.RoundTrip(zeros(3, 50)).count_nonzero().item<long>().Should().Be(0);
    }

    [Fact]
    public void Quantize_NotFiniteOrPackedForAnotherShape_IsRefused()
    {
        using var scope = NewDisposeScope();
        ((Action)(() => Nf4.Quantize(tensor(new[] { 1f, float.NaN })))).Should().Throw<ArgumentException>().WithMessage("*NaN*");
        (Tensor packed, Tensor scales) = Nf4.Quantize(randn(130));
        ((Action)(() => Nf4.Dequantize(packed, scales, [132], ScalarType.Float32))).Should().Throw<ArgumentException>().WithMessage("*65 bytes*132 elements*");
    }
}
