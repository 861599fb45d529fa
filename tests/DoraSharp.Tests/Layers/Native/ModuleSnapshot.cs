using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Native;

/// <summary>What a native module, and the process's random numbers, must still be after they were looked at.</summary>
internal sealed class ModuleSnapshot
{
    private readonly nn.Module module;
    private readonly List<(string Name, Parameter Object, nint Address, bool Trains, long Version, Tensor Bits)> parameters;
    private readonly bool training;
    private readonly Tensor random = torch.random.get_rng_state();

    public ModuleSnapshot(nn.Module module)
    {
        this.module = module;
        training = module.training;
        parameters = [.. module.named_parameters().Select(p => (p.name, p.parameter, TensorMemory.Address(p.parameter), p.parameter.requires_grad, TensorVersions.Of(p.parameter), p.parameter.detach().clone()))];
    }

    public void ShouldBeUnchanged()
    {
        module.training.Should().Be(training);
        Reference.SameBits(torch.random.get_rng_state(), random).Should().BeTrue("no random number may be drawn");
        module.named_parameters().Select(p => p.name).Should().Equal(parameters.Select(p => p.Name));
        foreach ((string name, Parameter before, nint address, bool trains, long version, Tensor bits) in parameters)
        {
            Parameter now = module.get_parameter(name)!;
            now.Should().BeSameAs(before, name);
            TensorMemory.Address(now).Should().Be(address, name);
            now.requires_grad.Should().Be(trains, name);
            TensorVersions.Of(now).Should().Be(version, name);
            Reference.SameBits(now, bits).Should().BeTrue(name);
            now.grad.Should().BeNull(name);
        }
    }
}
