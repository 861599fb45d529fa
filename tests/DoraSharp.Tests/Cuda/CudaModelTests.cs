using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Cuda;

/// <summary>An adapted model that moves to a GPU trains, merges, is saved and is loaded as on the CPU.</summary>
public class CudaModelTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Training_OnTheGpu_FollowsTheCpu(bool useDora)
    {
        Device device = CudaDevice.Require();
        using var scope = NewDisposeScope();

        Tensor[] expected = Train(useDora, CPU);
        Tensor[] actual = Train(useDora, device);

        actual.Length.Should().Be(expected.Length);
        foreach ((Tensor a, Tensor e) in actual.Zip(expected))
        {
            Reference.RelativeError(a, e).Should().BeLessThan(1e-4);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void MergeAndUnmerge_OnTheGpu_GiveTheCpusWeightAndTheOldBits(bool useDora)
    {
        Device device = CudaDevice.Require();
        using var scope = NewDisposeScope();
        (Sequential expected, AdaptedModel expectedAdapted) = CudaCase.NewModel(useDora, CPU);
        (Sequential actual, AdaptedModel actualAdapted) = CudaCase.NewModel(useDora, device);
        Tensor x = CudaCase.NewInput();
        Tensor[] before = Weights(actual);
        using var noGrad = no_grad();
        Tensor unmerged = actual.call(x.to(device)).cpu();

        expectedAdapted.Merge();
        actualAdapted.Merge();
        Tensor[] merged = Weights(actual);
        Tensor output = actual.call(x.to(device)).cpu();
        actualAdapted.Unmerge();

        foreach ((Tensor a, Tensor e) in merged.Zip(Weights(expected)))
        {
            Reference.RelativeError(a, e).Should().BeLessThan(CudaCase.Tolerance);
        }

        Reference.RelativeError(output, unmerged).Should().BeLessThan(CudaCase.Tolerance);
        Weights(actual).Zip(before).Should().OnlyContain(pair => Reference.SameBits(pair.First, pair.Second));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void SaveAndLoad_BetweenGpuAndCpu_KeepTheBits(bool useDora)
    {
        Device device = CudaDevice.Require();
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        (_, AdaptedModel onGpu) = CudaCase.NewModel(useDora, device);
        (Sequential fresh, AdaptedModel other) = CudaCase.NewModel(useDora, CPU);
        using (no_grad())
        {
            foreach (Parameter parameter in onGpu.TrainableParameters())
            {
                parameter.add_(1);
            }
        }

        onGpu.Save(folder.File("from-gpu"));
        other.Load(folder.File("from-gpu"));
        Tensor[] loaded = Parameters(other);
        fresh.to(device);
        other.Load(folder.File("from-gpu"));

        loaded.Zip(Parameters(onGpu)).Should().OnlyContain(pair => Reference.SameBits(pair.First, pair.Second));
        Parameters(other).Zip(Parameters(onGpu)).Should().OnlyContain(pair => Reference.SameBits(pair.First, pair.Second));
        other.TrainableParameters().Should().OnlyContain(parameter => parameter.device_type == device.type);
    }

    private static Tensor[] Train(bool useDora, Device device)
    {
        const int Steps = 3;
        (Sequential model, AdaptedModel adapted) = CudaCase.NewModel(useDora, device);
        Tensor x = CudaCase.NewInput().to(device);
        Tensor target = zeros(x.shape[0], CudaCase.Outputs, device: device);
        using AdamW optimizer = optim.AdamW(adapted.TrainableParameters(), lr: 1e-2);
        for (int step = 0; step < Steps; step++)
        {
            using var scope = NewDisposeScope();
            optimizer.zero_grad();
            nn.functional.mse_loss(model.call(x), target).backward();
            optimizer.step();
        }

        return Parameters(adapted);
    }

    private static Tensor[] Parameters(AdaptedModel adapted) => [.. adapted.TrainableParameters().Select(parameter => parameter.detach().cpu().clone())];

    private static Tensor[] Weights(Sequential model) =>
        [.. model.state_dict().Where(entry => entry.Key.EndsWith("weight", StringComparison.Ordinal)).Select(entry => entry.Value.detach().cpu().clone())];
}
