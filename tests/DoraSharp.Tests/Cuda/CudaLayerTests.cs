using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Cuda;

/// <summary>Layers on a GPU compute what they compute on the CPU.</summary>
public class CudaLayerTests
{
    [Theory]
    [InlineData(false, ScalarType.Float32, 2e-6)]
    [InlineData(true, ScalarType.Float32, 2e-6)]
    [InlineData(false, ScalarType.BFloat16, 1e-2)]
    [InlineData(true, ScalarType.BFloat16, 1e-2)]
    [InlineData(false, ScalarType.Float16, 2e-3)]
    [InlineData(true, ScalarType.Float16, 2e-3)]
    public void ForwardAndBackward_OnTheGpu_EqualFloat64AutogradOnTheCpu(bool useDora, ScalarType dtype, double tolerance)
    {
        Device device = CudaDevice.Require();
        using var scope = NewDisposeScope();
        Linear layer = CudaCase.NewLayer(dtype);
        Tensor weight = layer.weight!.to(ScalarType.Float64).clone(), bias = layer.bias!.to(ScalarType.Float64).clone();
        layer.to(device);
        using AdaptedLinear adapted = Make(layer, CudaCase.Options(useDora));
        Reference.Disturb(adapted.Adapters);
        var adapter = (LoraAdapter)adapted.Adapters["default"];
        ReferenceAdapter expected = new(
            Reference.Leaf(adapter.A.cpu()), Reference.Leaf(adapter.B.cpu()), adapter.Magnitude is { } m ? Reference.Leaf(m.cpu()) : null, adapter.Scaling);
        Tensor x = CudaCase.NewInput().to(dtype).to(device).requires_grad_(true);
        Tensor dy = randn(x.shape[0], CudaCase.Outputs).to(dtype);
        Tensor xReference = Reference.Leaf(x.cpu());

        Tensor y = adapted.call(x);
        y.backward([dy.to(device)]);
        Tensor yReference = xReference.matmul(Reference.EffectiveWeight(weight, expected).t()) + bias;
        yReference.backward([dy.to(ScalarType.Float64)]);

        y.device_type.Should().Be(device.type);
        y.dtype.Should().Be(dtype);
        adapter.A.device_type.Should().Be(device.type);
        Reference.RelativeError(y.cpu(), yReference).Should().BeLessThan(tolerance);
        Reference.RelativeError(x.grad!.cpu(), xReference.grad!).Should().BeLessThan(tolerance);
        Reference.RelativeError(adapter.A.grad!.cpu(), expected.A.grad!).Should().BeLessThan(tolerance);
        Reference.RelativeError(adapter.B.grad!.cpu(), expected.B.grad!).Should().BeLessThan(tolerance);
        if (useDora)
        {
            Reference.RelativeError(adapter.Magnitude!.grad!.cpu(), expected.Magnitude!.grad!).Should().BeLessThan(tolerance);
        }
    }

    [Fact]
    public void Norm_AfterTheFactorsChangeInPlaceOnTheGpu_IsComputedAgain()
    {
        Device device = CudaDevice.Require();
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        Linear layer = CudaCase.NewLayer(ScalarType.Float32);
        Tensor weight = layer.weight!.to(ScalarType.Float64).clone(), bias = layer.bias!.to(ScalarType.Float64).clone();
        layer.to(device);
        using AdaptedLinear adapted = Make(layer, CudaCase.Options(useDora: true));
        Reference.Disturb(adapted.Adapters);
        var adapter = (LoraAdapter)adapted.Adapters["default"];
        Tensor x = CudaCase.NewInput();
        Tensor before = adapted.call(x.to(device)).cpu();

        adapter.B.mul_(-1.5);
        Tensor after = adapted.call(x.to(device)).cpu();

        Tensor update = adapter.Scaling * adapter.B.cpu().to(ScalarType.Float64).matmul(adapter.A.cpu().to(ScalarType.Float64));
        Tensor gain = adapter.Magnitude!.cpu().to(ScalarType.Float64) / linalg.vector_norm(weight + update, ord: 2, dims: [1]);
        Tensor expected = x.to(ScalarType.Float64).matmul(((weight + update) * gain.unsqueeze(1)).t()) + bias;
        Reference.RelativeError(after, expected).Should().BeLessThan(CudaCase.Tolerance);
        Reference.RelativeError(before, expected).Should().BeGreaterThan(.1);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Dropout_OnTheGpu_UsesOneMaskForwardAndBackward(bool useDora)
    {
        Device device = CudaDevice.Require();
        using var scope = NewDisposeScope();
        Linear layer = CudaCase.NewLayer(ScalarType.Float32).to(device);
        layer.bias!.detach().zero_();
        using AdaptedLinear adapted = Make(layer, CudaCase.Options(useDora, dropout: .5));
        Reference.Disturb(adapted.Adapters);
        Tensor x = CudaCase.NewInput().to(device).requires_grad_(true);
        adapted.eval();
        Tensor whole = adapted.call(x).detach();
        adapted.train();

        Tensor y = adapted.call(x);
        Tensor dy = randn_like(y);
        y.backward([dy]);

        // With its mask fixed the layer is linear in x, so ⟨dy, y⟩ = ⟨dx, x⟩: another mask on the way back would break that.
        double forward = (dy * y).sum().to(ScalarType.Float64).item<double>();
        double backward = (x.grad! * x).sum().to(ScalarType.Float64).item<double>();
        double size = dy.norm().item<float>() * y.norm().item<float>();
        (Math.Abs(forward - backward) / size).Should().BeLessThan(CudaCase.Tolerance);
        Reference.RelativeError(y.detach().cpu(), whole.cpu()).Should().BeGreaterThan(.01);
    }

    [Fact]
    public void GradientOfTheMagnitude_RowsOfHardlyAnyGain_EqualsTheCpus()
    {
        Device device = CudaDevice.Require();
        using var scope = NewDisposeScope();

        Tensor expected = GradientOfM(CPU);
        Tensor actual = GradientOfM(device);

        Reference.RelativeError(actual, expected).Should().BeLessThan(CudaCase.Tolerance);
        Reference.RelativeError(actual.narrow(0, 0, 3), expected.narrow(0, 0, 3)).Should().BeLessThan(CudaCase.Tolerance);
    }

    private static Tensor GradientOfM(Device device)
    {
        AdaptedLinear adapted = Make(CudaCase.NewLayer(ScalarType.Float32), CudaCase.Options(useDora: true));
        Reference.Disturb(adapted.Adapters);
        Parameter magnitude = ((LoraAdapter)adapted.Adapters["default"]).Magnitude!;
        using (no_grad())
        {
            // None, so little that the output has lost it to the bias, and less than nothing.
            magnitude[0].zero_();
            magnitude[1].mul_(1e-6f);
            magnitude[2].mul_(-.01f);
        }

        adapted.to(device);
        Tensor y = adapted.call(CudaCase.NewInput().to(device));
        y.backward([CudaCase.NewInput().narrow(1, 0, CudaCase.Outputs).to(device)]);
        return ((LoraAdapter)adapted.Adapters["default"]).Magnitude!.grad!.cpu();
    }

    private static AdaptedLinear Make(Linear layer, LoraOptions options) =>
        options.UseDora ? DoraLinear.From(layer, options) : LoraLinear.From(layer, options);
}
