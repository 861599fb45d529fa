using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Quantization;

/// <summary>The entries of a case of bitsandbytes' golden files.</summary>
internal sealed record GoldenQuantization(JsonElement Entry, SafetensorsReader File)
{
    private static readonly (string Name, ScalarType DType)[] Types = [("f32", ScalarType.Float32), ("bf16", ScalarType.BFloat16), ("f16", ScalarType.Float16)];

    public string Name => Entry.GetProperty("name").GetString()!;

    public Tensor Source => Read("source");

    public QuantizationOptions Options(bool doubleQuantization = false) => new()
    {
        Format = Entry.GetProperty("quant_type").GetString() == "fp4" ? QuantizationFormat.Fp4 : QuantizationFormat.Nf4,
        BlockSize = Entry.GetProperty("blocksize").GetInt32(),
        DoubleQuantization = doubleQuantization,
    };

    public Tensor Read(string key) => File.Read($"{Name}.{key}");

    public bool Has(string key) => File.TryGetEntry($"{Name}.{key}", out _);

    /// <summary>Runs <paramref name="check"/> on each entry of a case.</summary>
    public static void ForEach(string name, Action<GoldenQuantization> check)
    {
        string folder = SharedFolder.Require("fixtures", "bnb", name);
        using JsonDocument description = JsonDocument.Parse(System.IO.File.ReadAllText(Path.Combine(folder, "case.json")));
        using SafetensorsReader tensors = SafetensorsReader.Open(Path.Combine(folder, "tensors.safetensors"));
        foreach (JsonElement entry in description.RootElement.GetProperty("entries").EnumerateArray())
        {
            using var scope = NewDisposeScope();
            check(new(entry, tensors));
        }
    }

    /// <summary>Compares decoded values in every dtype that the entry has.</summary>
    public void CheckDecoded(QuantizedTensor quantized)
    {
        int compared = 0;
        foreach ((string suffix, ScalarType dtype) in Types.Where(type => Has($"dequant_{type.Name}")))
        {
            // Zeros have no sign here; and some processors round to bfloat16 without denormal numbers.
            Tensor expected = Read($"dequant_{suffix}");
            Tensor actual = quantized.Dequantize(dtype);
            actual.dtype.Should().Be(dtype);
            actual.shape.Should().Equal(expected.shape);
            Tensor denormal = expected.to(ScalarType.Float32).abs().lt(1.17549435e-38f) & actual.to(ScalarType.Float32).abs().lt(1.17549435e-38f);
            (dtype == ScalarType.BFloat16 ? actual.eq(expected) | denormal : actual.eq(expected)).all().item<bool>().Should().BeTrue($"{suffix} of {Name}");
            compared++;
        }

        compared.Should().BePositive();
    }
}
