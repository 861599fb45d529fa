using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Cuda;

/// <summary>AdamW with 8-bit states steps on a GPU as on the CPU, and follows its parameters there.</summary>
public class CudaAdamW8BitTests
{
    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Float16)]
    public void Step_OnTheGpu_EqualsTheCpu(ScalarType dtype)
    {
        Device device = CudaDevice.Require();
        using var scope = NewDisposeScope();

        (Tensor expected, AdamW8BitState expectedState) = Train(CPU, dtype);
        (Tensor actual, AdamW8BitState state) = Train(device, dtype);

        Blockwise8Moment mean = (Blockwise8Moment)state.Mean, expectedMean = (Blockwise8Moment)expectedState.Mean;
        mean.Codes.device_type.Should().Be(device.type);
        mean.Codes.cpu().ne(expectedMean.Codes).to(ScalarType.Float32).mean().item<float>().Should().BeLessThan(1e-3f);
        Reference.RelativeError(mean.Scales.cpu(), expectedMean.Scales).Should().BeLessThan(1e-5);
        Reference.RelativeError(actual.cpu(), expected).Should().BeLessThan(dtype == ScalarType.Float32 ? 1e-5 : 1e-3);
    }

    [Fact]
    public void Load_SavedOnTheCpu_ContinuesOnTheGpu()
    {
        Device device = CudaDevice.Require();
        using var scope = NewDisposeScope();
        Parameter here = new(ones(70, 90)), there = new(ones(70, 90).to(device));
        using AdamW8Bit first = new([here], new()), second = new([there], new());
        here.grad = ones(70, 90);
        first.step();
        second.load_state_dict(first.state_dict());
        there.grad = ones(70, 90).to(device);

        second.step();

        // 1e-3 · (1 − decay): one step of 1e-3, by a mean of which one step is already there.
        ((AdamW8BitState)second.state_dict().State[0]).Mean.IsOn(device).Should().BeTrue();
        Reference.RelativeError(there.cpu(), full([70, 90], 1 - 1e-5 - 1e-3)).Should().BeLessThan(1e-5);
    }

    private static (Tensor Values, AdamW8BitState State) Train(Device device, ScalarType dtype)
    {
        using Generator generator = new(3);
        Parameter p = new(randn([61, 83], generator: generator).to(dtype).to(device));
        AdamW8Bit optimizer = new([p], new() { LearningRate = 0.01 });
        for (int step = 0; step < 5; step++)
        {
            p.grad = randn([61, 83], generator: generator).to(dtype).to(device);
            optimizer.step();
        }

        return (p.detach(), (AdamW8BitState)optimizer.state_dict().State[0]);
    }
}
