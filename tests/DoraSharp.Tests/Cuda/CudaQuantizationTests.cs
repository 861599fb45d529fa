using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Cuda;

/// <summary>Quantized weights on a GPU hold and compute what they do on the CPU.</summary>
public class CudaQuantizationTests
{
    private static readonly QuantizationOptions[] Kinds =
    [
        new(),
        new() { Format = QuantizationFormat.Fp4, BlockSize = 128, DoubleQuantization = false },
        new() { Format = QuantizationFormat.Int8Rows },
        new() { Format = QuantizationFormat.Blockwise8, BlockSize = 256 },
    ];

    public static TheoryData<int> KindIndices() => [.. Enumerable.Range(0, Kinds.Length)];

    [Theory]
    [MemberData(nameof(KindIndices))]
    public void Dequantize_QuantizedOnTheGpu_EqualsTheCpus(int kind)
    {
        Device device = CudaDevice.Require();
        using var scope = NewDisposeScope();
        Tensor source = CudaCase.NewLayer(ScalarType.Float32).weight!.detach();

        using QuantizedTensor expected = QuantizedTensor.Quantize(source, Kinds[kind]);
        using QuantizedTensor actual = QuantizedTensor.Quantize(source.to(device), Kinds[kind]);

        // The devices add up means in different orders: the second level of scales may differ in its last bit.
        actual.Codes.device_type.Should().Be(device.type);
        actual.Codes.cpu().ne(expected.Codes).to(ScalarType.Float32).mean().item<float>().Should().BeLessThan(1e-3f);
        Reference.RelativeError(actual.Dequantize().cpu(), expected.Dequantize()).Should().BeLessThan(1e-4);
        Reference.RelativeError(actual.Dequantize().cpu(), source).Should().BeInRange(1e-4, .3);
    }

    [Theory]
    [MemberData(nameof(KindIndices))]
    public void DoraOverAQuantizedLayer_MovedToTheGpu_EqualsTheCpu(int kind)
    {
        Device device = CudaDevice.Require();
        using var scope = NewDisposeScope();

        Tensor[] expected = Step(kind, CPU);
        Tensor[] actual = Step(kind, device);

        foreach ((Tensor a, Tensor e) in actual.Zip(expected))
        {
            Reference.RelativeError(a, e).Should().BeLessThan(CudaCase.Tolerance);
        }
    }

    /// <summary>The output and the gradients of x and of the adapter.</summary>
    private static Tensor[] Step(int kind, Device device)
    {
        QuantizedLinear layer = QuantizedLinear.From(CudaCase.NewLayer(ScalarType.Float32), Kinds[kind]);
        AdaptedLinear adapted = DoraLinear.From(layer, CudaCase.Options(useDora: true));
        Reference.Disturb(adapted.Adapters);
        adapted.to(device);
        Tensor x = CudaCase.NewInput().to(device).requires_grad_(true);
        Tensor y = adapted.call(x);
        y.backward([CudaCase.NewInput().narrow(1, 0, CudaCase.Outputs).to(device)]);
        return [.. new[] { y.detach(), x.grad! }.Concat(adapted.Adapters.parameters().Select(parameter => parameter.grad!)).Select(tensor => tensor.cpu())];
    }
}
