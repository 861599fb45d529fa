using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Freezes parameters and remembers which of them trained.</summary>
internal sealed class FrozenFlags
{
    private readonly List<(nn.Module Owner, string Name)> trained = [];

    /// <summary>Freezes every parameter of a module and of its children, except those of adapters.</summary>
    public static FrozenFlags Freeze(nn.Module module)
    {
        FrozenFlags flags = new();
        flags.FreezeAll(module, []);
        return flags;
    }

    /// <summary>Lets those train again that did, wherever <c>to(...)</c> has moved them since.</summary>
    public void Restore()
    {
        foreach ((nn.Module owner, string name) in trained)
        {
            if (owner.get_parameter(name) is { IsInvalid: false } parameter)
            {
                parameter.requires_grad = true;
            }
        }
    }

    private void FreezeAll(nn.Module module, HashSet<nn.Module> seen)
    {
        if (module is AdapterStack || !seen.Add(module))
        {
            return;
        }

        foreach ((string name, Parameter parameter) in module.named_parameters(recurse: false))
        {
            if (parameter.requires_grad)
            {
                parameter.requires_grad = false;
                trained.Add((module, name));
            }
        }

        foreach ((_, nn.Module child) in module.named_children())
        {
            FreezeAll(child, seen);
        }
    }
}
