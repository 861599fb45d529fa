using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What a module computes with besides its input: its parameters, by identity and version, and whether it trains.</summary>
internal sealed class ModuleState
{
    private readonly (nn.Module Module, string Name, bool IsTraining)[] modes;
    private readonly (Parameter Parameter, string Name, nint Identity, long Version)[] parameters;

    /// <summary>Remembers a module's state.</summary>
    public ModuleState(nn.Module module)
    {
        modes = [.. module.named_modules().Select(static entry => (entry.module, entry.name, entry.module.training)).Prepend((module, module.GetName(), module.training))];
        parameters = [.. module.named_parameters().Select(static entry => (entry.parameter, entry.name, TensorIdentity.Of(entry.parameter), VersionOf(entry.parameter)))];
    }

    /// <summary>The parameters that train.</summary>
    public IReadOnlyList<Tensor> Trained => [.. parameters.Select(static entry => entry.Parameter).Where(static parameter => parameter.requires_grad)];

    /// <summary>A tensor's version; 0 where it cannot be read.</summary>
    public static long VersionOf(Tensor tensor) => TensorVersions.HasVersion(tensor) ? TensorVersions.Of(tensor) : 0;

    /// <summary>Throws where the module has changed.</summary>
    /// <exception cref="InvalidOperationException">A parameter or a mode is another.</exception>
    public void Check()
    {
        foreach ((nn.Module module, string name, bool isTraining) in modes)
        {
            if (module.training != isTraining)
            {
                throw Changed($"{name} was set to {(isTraining ? "evaluation" : "training")} mode");
            }
        }

        foreach ((Parameter parameter, string name, nint identity, long version) in parameters)
        {
            if (parameter.IsInvalid || TensorIdentity.Of(parameter) != identity)
            {
                throw Changed($"the parameter {name} was replaced");
            }

            if (VersionOf(parameter) != version)
            {
                throw Changed($"the parameter {name} was changed in place (by an optimizer step, a merge, a load?)");
            }
        }
    }

    private static InvalidOperationException Changed(string what) => new(
        $"A module under a gradient checkpoint must be the same in the backward pass, where it runs again, but {what} since the forward pass. Call backward() first.");
}
