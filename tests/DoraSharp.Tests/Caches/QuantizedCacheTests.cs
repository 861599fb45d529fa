using static TorchSharp.torch;

namespace DoraSharp.Tests.Caches;

/// <summary>A quantized weight follows from codes and scales: a change of either is seen.</summary>
public class QuantizedCacheTests
{
    private const int Inputs = 128;
    private const int Outputs = 96;

    public static TheoryData<QuantizationFormat, bool, string> Buffers()
    {
        TheoryData<QuantizationFormat, bool, string> data = [];
        foreach (QuantizationFormat format in Enum.GetValues<QuantizationFormat>())
        {
            foreach (bool isDouble in (bool[])[false, true])
            {
                using QuantizedLinear layer = Layer(format, isDouble, seed: 1);
                data.AddRange([.. layer.state_dict().Keys.Where(static name => name != "bias").Select(name => (format, isDouble, name))]);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Buffers))]
    public void Output_AfterACodeOrScaleChangedInPlace_IsThatOfTheWeightAsItIs(QuantizationFormat format, bool isDouble, string name)
    {
        using var scope = NewDisposeScope();
        using QuantizedLinear layer = Layer(format, isDouble, seed: 1);
        using DoraLinear dora = Adapted(layer);
        Tensor buffer = layer.state_dict()[name];
        Tensor x = randn(5, Inputs);
        using var noGrad = no_grad();
        dora.call(x);
        if (buffer.is_floating_point())
        {
            buffer.mul_(1.5);
        }
        else
        {
            buffer.copy_(buffer.flip(0));
        }

        Check(dora, layer, x);
    }

    [Theory]
    [InlineData(QuantizationFormat.Nf4, true)]
    [InlineData(QuantizationFormat.Int8Rows, false)]
    public void Output_AfterABinaryLoadOfTheBaseLayer_IsThatOfTheWeightAsItIs(QuantizationFormat format, bool isDouble)
    {
        using var scope = NewDisposeScope();
        using QuantizedLinear layer = Layer(format, isDouble, seed: 1);
        using QuantizedLinear other = Layer(format, isDouble, seed: 2);
        using DoraLinear dora = Adapted(layer);
        Tensor x = randn(5, Inputs);
        using var noGrad = no_grad();
        dora.call(x);
        using MemoryStream stream = new();
        using BinaryWriter writer = new(stream, System.Text.Encoding.UTF8, leaveOpen: true);
        other.save(writer);
        stream.Position = 0;
        layer.load(stream);

        Check(dora, layer, x);
    }

    private static QuantizedLinear Layer(QuantizationFormat format, bool isDouble, int seed)
    {
        manual_seed(seed);
        using var dense = nn.Linear(Inputs, Outputs);
        return QuantizedLinear.From(dense, new QuantizationOptions { Format = format, DoubleQuantization = isDouble });
    }

    private static DoraLinear Adapted(QuantizedLinear layer)
    {
        DoraLinear dora = DoraLinear.From(layer, new LoraOptions { Rank = 4, Alpha = 6 });
        Reference.Disturb(dora.Adapters);
        return dora;
    }

    private static void Check(DoraLinear dora, QuantizedLinear layer, Tensor x)
    {
        Tensor weight = Reference.EffectiveWeight(layer.Weight.Dequantize(ScalarType.Float64), Reference.Copy(dora.Adapters["default"]));
        Tensor expected = x.to(ScalarType.Float64).matmul(weight.t()) + layer.Bias!.to(ScalarType.Float64);
        Reference.RelativeError(dora.call(x), expected).Should().BeLessThan(1e-5);
    }
}
