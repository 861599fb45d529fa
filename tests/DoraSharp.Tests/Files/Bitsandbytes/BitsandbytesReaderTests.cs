using System.Text;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Files.Bitsandbytes;

public class BitsandbytesReaderTests
{
    private const string Weight = "model.fc.weight";
    private const string State = Weight + ".quant_state.bitsandbytes__nf4";

    public static TheoryData<string, string> BadTexts => new()
    {
        { "", "*not valid JSON*" },
        { "[]", "*Array and no object*" },
        { "null", "*no object*" },
        { "{", "*not valid JSON*" },
        { new string('[', 4000), "*not valid JSON*" },
        { "{\"quant_type\": \"nf4\", \"quant_type\": \"nf4\"}", "*not valid JSON*quant_type*" },
        { "{}", "*lacks quant_type*" },
        { Text(type: "\"int4\""), "*quant_type 'int4'*" },
        { Text(type: "\"fp4\""), "*quant_type 'fp4'*says 'nf4'*" },
        { Text(type: "4"), "*quant_type 4*a string*" },
        { Text(block: "0"), "*blocksize 0*power of two*" },
        { Text(block: "-64"), "*blocksize -64*" },
        { Text(block: "63"), "*blocksize 63*" },
        { Text(block: "1e999"), "*blocksize 1e999*" },
        { Text(block: "64.5"), "*blocksize 64.5*" },
        { Text(block: "\"64\""), "*blocksize \"64\"*" },
        { Text(dtype: "\"int8\""), "*dtype 'int8'*float32*" },
        { Text(dtype: "\"\\ud800\""), "*not valid JSON*" },
        { Text(shape: "[]"), "*shape []*" },
        { Text(shape: "64"), "*shape 64*" },
        { Text(shape: "[-12, -80]"), "*shape*-12*positive*" },
        { Text(shape: "[0, 80]"), "*shape*positive*" },
        { Text(shape: "[4294967296, 4294967296]"), "*shape*product*" },
        { Text(shape: "[9223372036854775807, 3]"), "*shape*product*" },
        { Text(shape: "[99999999999999999999]"), "*shape*" },
        { Text(shape: "[1, 1, 1, 1, 1, 1, 1, 12, 80]"), "*shape*1 to 8*" },
        { Text(shape: "[12, 81]"), "*weight*480 bytes*486*" },
        { Text(nested: ", \"nested_blocksize\": 256"), "*nested_blocksize;*all or none*" },
        { Text(nested: ", \"nested_blocksize\": 3, \"nested_dtype\": \"float32\", \"nested_offset\": 0.5"), "*nested_blocksize 3*" },
        { Text(nested: ", \"nested_blocksize\": 256, \"nested_dtype\": \"float64\", \"nested_offset\": 0.5"), "*nested_dtype 'float64'*" },
        { Text(nested: ", \"nested_blocksize\": 256, \"nested_dtype\": \"float32\", \"nested_offset\": -0.5"), "*nested_offset -0.5*" },
        { Text(nested: ", \"nested_blocksize\": 256, \"nested_dtype\": \"float32\", \"nested_offset\": NaN"), "*not valid JSON*" },
        { Text(nested: ", \"nested_blocksize\": 256, \"nested_dtype\": \"float32\", \"nested_offset\": 1e300"), "*nested_offset 1e300*" },
        { Text(nested: ", \"nested_blocksize\": 256, \"nested_dtype\": \"float32\", \"nested_offset\": 0.1"), "*nested_offset 0.1*float32*" },
        { Text(nested: ""), "*absmax' is Byte*Float32*" },
        { Text()[..^1] + ", \"transposed\": true}", "*8 fields*7 are known*" },
    };

    [Theory]
    [MemberData(nameof(BadTexts))]
    public void Read_DescriptionThatIsWrong_NamesFileModuleTensorValueAndWayOut(string text, string message) =>
        Refused(tensors => tensors[State] = Bytes(Encoding.UTF8.GetBytes(text)), message);

    [Fact]
    public void Read_DescriptionThatIsNoText_IsRefused()
    {
        Refused(static tensors => tensors[State] = Bytes([0xff, 0xfe, .. Encoding.UTF8.GetBytes(Text())]), $"*{State}*not valid JSON*");
        Refused(static tensors => tensors[State] = full(5000, 32, dtype: ScalarType.Byte), "*at most 4096*");
        Refused(static tensors => tensors[State] = ones(7), "*Float32*bytes of a JSON text*");
        Refused(static tensors => tensors[State] = tensor((byte)'{'), "*bytes of a JSON text*");
    }

    [Theory]
    [InlineData("", "*missing*")]
    [InlineData(".absmax", "*missing*")]
    [InlineData(".quant_map", "*missing*")]
    [InlineData(".nested_absmax", "*missing*")]
    [InlineData(".nested_quant_map", "*missing*")]
    [InlineData(".quant_state.bitsandbytes__nf4", "*missing*no quantization state*")]
    public void Read_PartMissing_IsNamed(string part, string message) => Refused(tensors => tensors.Remove(Weight + part), message, Weight + part);

    [Theory]
    [InlineData("")]
    [InlineData(".absmax")]
    [InlineData(".quant_map")]
    [InlineData(".nested_absmax")]
    [InlineData(".nested_quant_map")]
    public void Read_PartOfAnotherShapeOrType_IsNamed(string part)
    {
        string key = Weight + part;
        Refused(tensors => tensors[key] = tensors[key].flatten().narrow(0, 1, tensors[key].numel() - 1), $"*{key}*must be*", key);
        Refused(tensors => tensors[key] = cat([tensors[key], tensors[key]]), $"*{key}*", key);
        Refused(tensors => tensors[key] = tensors[key].to(ScalarType.Int32), $"*{key}*Int32*", key);
        Refused(tensors => tensors[key] = tensors[key].unsqueeze(0).unsqueeze(0), $"*{key}*", key);
        Refused(tensors => tensors[key] = zeros(0), $"*{key}*", key);
    }

    [Fact]
    public void Read_ValuesThatCannotBe_AreNamed()
    {
        foreach (float bad in (float[])[float.NaN, float.PositiveInfinity, -1])
        {
            Refused(tensors => tensors[$"{Weight}.nested_absmax"].fill_(bad), "*negative, infinite or NaN*", $"{Weight}.nested_absmax");
            Refused(tensors => tensors[$"{Weight}.nested_quant_map"][7] = bad * 2, "*256 levels*", $"{Weight}.nested_quant_map");
            Refused(tensors => tensors[$"{Weight}.quant_map"][7] = bad, "*16 levels*", $"{Weight}.quant_map");
        }

        Refused(static tensors => tensors[$"{Weight}.quant_state.bitsandbytes__fp4"] = tensors[State], "*beside*");
        Refused(static tensors => tensors[$"{Weight}.quant_map"] = tensor(CodeMap.Fp4.Levels), "*16 levels of Nf4*");
    }

    [Fact]
    public void Read_ScalesBeyondFloat32TogetherWithTheirOffset_AreRefused() => Refused(
        static tensors =>
        {
            tensors[State] = Bytes(Encoding.UTF8.GetBytes(Text(nested: ", \"nested_blocksize\": 256, \"nested_dtype\": \"float32\", \"nested_offset\": 3.4028234663852886e+38")));
            tensors[$"{Weight}.nested_absmax"].fill_(3e38f);
        },
        "*nested_offset*scales that are not finite*",
        $"{Weight}.nested_absmax");

    [Fact]
    public void Read_NestedHalfWithoutDescription_IsRefused() => Refused(
        static tensors =>
        {
            tensors[State] = Bytes(Encoding.UTF8.GetBytes(Text(nested: "")));
            tensors[$"{Weight}.absmax"] = ones(15);
        },
        "*nothing of double quantization*");

    [Fact]
    public void Read_PlainScalesThatCannotBe_AreRefused()
    {
        foreach (float bad in (float[])[float.NaN, float.NegativeInfinity, -1e-20f])
        {
            Refused(
                tensors =>
                {
                    tensors[State] = Bytes(Encoding.UTF8.GetBytes(Text(nested: "")));
                    tensors[$"{Weight}.absmax"] = ones(15);
                    tensors[$"{Weight}.absmax"][3] = bad;
                    tensors.Remove($"{Weight}.nested_absmax");
                    tensors.Remove($"{Weight}.nested_quant_map");
                },
                "*negative, infinite or NaN*",
                $"{Weight}.absmax");
        }
    }

    [Fact]
    public void Read_LevelsWithOtherLastBits_AreUsed()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        Dictionary<string, Tensor> tensors = Sound();
        float[] levels = [.. CodeMap.DynamicSigned.Levels.Select(static level => level is 0 or 1 ? level : MathF.BitIncrement(level))];
        tensors[$"{Weight}.nested_quant_map"] = tensor(levels);
        using FourBitTensor read = Read(folder, tensors);
        using FourBitTensor again = Read(folder, tensors);

        Tensor expected = tensor(levels).index_select(0, read.Scales.to(ScalarType.Int32)) * read.Nested!.Scales + read.Nested.Offset;
        Reference.SameBits(read.DecodedScales(), expected).Should().BeTrue();
        Reference.SameBits(BitsandbytesWriter.ToTensors(read, Weight)[$"{Weight}.nested_quant_map"], tensors[$"{Weight}.nested_quant_map"]).Should().BeTrue();
        read.Nested.Levels.Should().BeSameAs(again.Nested!.Levels, "the layers of a model share the levels");
    }

    [Fact]
    public void Read_Int8RowsThatAreWrong_AreRefused()
    {
        const string scales = "model.fc.SCB", layout = "model.fc.weight_format";
        RefusedRows(static tensors => tensors[scales] = ones(11), "*[[]11]*[[]12]*", scales);
        RefusedRows(static tensors => tensors[scales] = ones(12, dtype: ScalarType.Float64), "*Float64*", scales);
        RefusedRows(static tensors => tensors[scales][3] = float.NaN, "*NaN*", scales);
        RefusedRows(static tensors => tensors[scales][3] = 3e38f, "*beyond 65504*float16*", scales);
        RefusedRows(static tensors => tensors[scales][3] = -1, "*negative*", scales);
        RefusedRows(static tensors => tensors[layout] = tensor((byte)2), "*is 2*supported is 0*", layout);
        RefusedRows(static tensors => tensors[layout] = tensor(0L), "*Int64*", layout);
        RefusedRows(static tensors => tensors[Weight] = tensors[Weight].to(ScalarType.Byte), "*Byte*Int8*", Weight);
        RefusedRows(static tensors => tensors[Weight] = tensors[Weight].flatten(), "*Int8 [[]960]*", Weight);
        RefusedRows(static tensors => tensors.Remove(Weight), "*missing*", Weight);

        static void RefusedRows(Action<Dictionary<string, Tensor>> spoil, string message, string key)
        {
            using var scope = NewDisposeScope();
            using QuantizedTensor rows = QuantizedTensor.Quantize(randn(12, 80), new() { Format = QuantizationFormat.Int8Rows });
            Refused(new(BitsandbytesWriter.ToTensors(rows, Weight)), spoil, message.Replace("[[]", "[", StringComparison.Ordinal), key);
        }
    }

    [Fact]
    public void Read_AnyByteOfTheDescriptionChanged_GivesAWeightOrAnErrorThatNamesIt()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        Dictionary<string, Tensor> tensors = Sound();
        byte[] text = tensors[State].data<byte>().ToArray();
        Random random = new(4);
        int read = 0, refused = 0;
        for (int step = 0; step < 600; step++)
        {
            byte[] changed = [.. text];
            for (int change = 0; change <= step % 3; change++)
            {
                int place = random.Next(changed.Length);
                changed = random.Next(3) switch
                {
                    0 => [.. changed[..place], .. changed[(place + 1)..]],
                    1 => [.. changed[..place], (byte)random.Next(256), .. changed[place..]],
                    _ => [.. changed[..place], (byte)random.Next(32, 127), .. changed[(place + 1)..]],
                };
            }

            tensors[State] = Bytes(changed);
            long before = LiveTensors.Count;
            try
            {
                using FourBitTensor weight = Read(folder, tensors);
                using Tensor values = weight.Dequantize();
                values.numel().Should().Be(960);
                read++;
            }
            catch (InvalidDataException e)
            {
                e.Message.Should().Contain("model.fc").And.Contain(Weight);
                refused++;
            }

            LiveTensors.Count.Should().Be(before);
        }

        read.Should().BePositive();
        refused.Should().BeGreaterThan(300);
    }

    private static void Refused(Action<Dictionary<string, Tensor>> spoil, string message, string key = Weight) => Refused(Sound(), spoil, message, key);

    private static void Refused(Dictionary<string, Tensor> tensors, Action<Dictionary<string, Tensor>> spoil, string message, string key)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        spoil(tensors);
        string path = folder.File("model.safetensors");
        SafetensorsWriter.Write(path, tensors);
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(path);
        long before = LiveTensors.Count;
        FluentActions.Invoking(() => BitsandbytesReader.Read(checkpoint, Weight)).Should().Throw<InvalidDataException>()
            .WithMessage(message).And.Message.Should().Contain(path).And.Contain("'model.fc'").And.Contain(key).And.Contain("quantize it here");
        LiveTensors.Count.Should().Be(before);
    }

    private static FourBitTensor Read(TemporaryFolder folder, Dictionary<string, Tensor> tensors)
    {
        string path = folder.File("model.safetensors");
        SafetensorsWriter.Write(path, tensors);
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(path);
        return (FourBitTensor)BitsandbytesReader.Read(checkpoint, Weight);
    }

    private static Dictionary<string, Tensor> Sound()
    {
        using QuantizedTensor quantized = QuantizedTensor.Quantize(randn(12, 80, generator: new Generator(8)));
        return new(BitsandbytesWriter.ToTensors(quantized, Weight));
    }

    private static string Text(
        string type = "\"nf4\"",
        string block = "64",
        string dtype = "\"float32\"",
        string shape = "[12, 80]",
        string nested = ", \"nested_blocksize\": 256, \"nested_dtype\": \"float32\", \"nested_offset\": 0.5") =>
        $"{{\"quant_type\": {type}, \"blocksize\": {block}, \"dtype\": {dtype}, \"shape\": {shape}{nested}}}";

    private static Tensor Bytes(byte[] bytes) => tensor(bytes);
}
