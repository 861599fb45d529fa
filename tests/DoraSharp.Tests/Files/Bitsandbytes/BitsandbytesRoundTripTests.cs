using static TorchSharp.torch;

namespace DoraSharp.Tests.Files.Bitsandbytes;

public class BitsandbytesRoundTripTests
{
    [Theory]
    [InlineData("llama-nf4-dq-f32/model", ScalarType.Byte)]
    [InlineData("llama-fp4-dq-f32/model", ScalarType.Byte)]
    [InlineData("llama-nf4-plain-f32/model", ScalarType.Byte)]
    [InlineData("llama-nf4-dq-bf16-storage-bf16/model", ScalarType.BFloat16)]
    [InlineData("qdora-nf4-dq/base.safetensors", ScalarType.Byte)]
    [InlineData("linear4bit-nf4-plain-wf32-cf32-xf32-37x51-b64/layer.safetensors", ScalarType.Byte)]
    [InlineData("linear4bit-fp4-plain-wf16-cf16-xf16-24x64-b64/layer.safetensors", ScalarType.Byte)]
    [InlineData("linear4bit-nf4-dq-wf32-cf32-xf32-16x128-b128/layer.safetensors", ScalarType.Byte)]
    public void ReadAndWrite_BitsandbytesCheckpoint_GivesTheSameFile(string name, ScalarType storage)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(SharedFolder.Require(["fixtures", "bnb", .. name.Split('/')]));
        IReadOnlyList<string> weights = BitsandbytesReader.FindWeights(checkpoint);
        weights.Should().NotBeEmpty();
        Dictionary<string, Tensor> tensors = checkpoint.Names
            .Except(weights.SelectMany(weight => BitsandbytesReader.FindTensors(checkpoint, weight)))
            .ToDictionary(static other => other, other => checkpoint.Read(other));
        foreach (string weight in weights)
        {
            using QuantizedTensor quantized = BitsandbytesReader.Read(checkpoint, weight);
            foreach ((string key, Tensor value) in BitsandbytesWriter.ToTensors(quantized, weight, storage))
            {
                tensors.Add(key, value);
            }
        }

        string written = folder.File("model.safetensors");
        SafetensorsWriter.Write(written, tensors, new Dictionary<string, string> { ["format"] = "pt" });
        File.ReadAllBytes(written).Should().Equal(File.ReadAllBytes(checkpoint.Path));
    }

    [Fact]
    public void Read_Linear8bitLt_GivesItsWeightAndIsWrittenAsItWas()
    {
        using var scope = NewDisposeScope();
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(SharedFolder.Require("fixtures", "bnb", "int8-linear", "tensors.safetensors"));
        IReadOnlyList<string> weights = BitsandbytesReader.FindWeights(checkpoint);
        weights.Should().HaveCount(3);
        foreach (string weight in weights)
        {
            using QuantizedTensor quantized = BitsandbytesReader.Read(checkpoint, weight);
            Reference.SameBits(quantized.Dequantize(), checkpoint.Read(weight.Replace("state.weight", "dequant_f32", StringComparison.Ordinal))).Should().BeTrue();
            foreach ((string key, Tensor value) in BitsandbytesWriter.ToTensors(quantized, weight))
            {
                Reference.SameBits(value, checkpoint.Read(key)).Should().BeTrue(key);
            }
        }
    }

    [Theory]
    [InlineData(QuantizationFormat.Nf4, true, ScalarType.Float32, ScalarType.Float32)]
    [InlineData(QuantizationFormat.Nf4, false, ScalarType.BFloat16, ScalarType.Float16)]
    [InlineData(QuantizationFormat.Fp4, true, ScalarType.Float16, ScalarType.Byte)]
    [InlineData(QuantizationFormat.Int8Rows, false, ScalarType.Float32, ScalarType.Byte)]
    public void WriteAndRead_AnyFormat_KeepsTheWeight(QuantizationFormat format, bool doubled, ScalarType dtype, ScalarType storage)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        QuantizationOptions options = new() { Format = format, BlockSize = 128, DoubleQuantization = doubled };
        using QuantizedTensor quantized = QuantizedTensor.Quantize(randn(56, 333, generator: new Generator(2)).to(dtype), options);
        string path = folder.File("layer.safetensors");
        SafetensorsWriter.Write(path, BitsandbytesWriter.ToTensors(quantized, "fc.weight", storage));

        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(path);
        BitsandbytesReader.FindWeights(checkpoint).Should().Equal("fc.weight");
        BitsandbytesReader.FindTensors(checkpoint, "fc.weight").Should().BeEquivalentTo(checkpoint.Names);
        using QuantizedTensor read = BitsandbytesReader.Read(checkpoint, "fc.weight");
        Reference.SameBits(read.Dequantize(dtype), quantized.Dequantize()).Should().BeTrue();
        read.Shape.Should().Equal(56, 333);
        read.Options.Format.Should().Be(format);
    }

    [Fact]
    public void ToTensors_WhatBitsandbytesCannotHold_IsRefused()
    {
        using var scope = NewDisposeScope();
        using QuantizedTensor blocks = QuantizedTensor.Quantize(randn(3, 5), new() { Format = QuantizationFormat.Blockwise8 });
        using QuantizedTensor odd = QuantizedTensor.Quantize(randn(3, 6));
        FluentActions.Invoking(() => BitsandbytesWriter.ToTensors(blocks, "fc.weight")).Should().Throw<NotSupportedException>().WithMessage("*fc.weight*Blockwise8*");
        FluentActions.Invoking(() => BitsandbytesWriter.ToTensors(odd, "fc.weight", ScalarType.Float32)).Should().Throw<ArgumentException>().WithMessage("*9 bytes*").Which.ParamName.Should().Be("storage");
        FluentActions.Invoking(() => BitsandbytesWriter.ToTensors(odd, "fc.weight", ScalarType.Int32)).Should().Throw<ArgumentException>().WithMessage("*Int32*");
    }
}
