using System.Reflection;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Runs actions before and after <c>call</c> of a module of any signature. <c>forward</c> runs no hooks.</summary>
internal sealed class CallHooks : IDisposable
{
    private readonly List<object> removers = [];

    /// <summary>Hooks a module, if it is of a kind that has hooks.</summary>
    /// <param name="module">The module.</param>
    /// <param name="before">Runs before the module's forward.</param>
    /// <param name="after">Runs after it, unless it throws.</param>
    /// <param name="hooks">The hooks; disposing them takes them off.</param>
    public static bool TryAdd(nn.Module module, Action? before, Action? after, out CallHooks hooks)
    {
        hooks = new();
        return (before is null || hooks.Register(module, "register_forward_pre_hook", before))
            && (after is null || hooks.Register(module, "register_forward_hook", after));
    }

    public void Dispose()
    {
        foreach (object remover in removers)
        {
            remover.GetType().GetMethod("remove")!.Invoke(remover, null);
        }

        removers.Clear();
    }

    // The hook methods belong to a generic base class whose arguments depend on the module's signature.
    private bool Register(nn.Module module, string method, Action action)
    {
        MethodInfo? register = module.GetType().GetMethod(method, BindingFlags.Instance | BindingFlags.Public, [typeof(Action<nn.Module>)]);
        if (register?.Invoke(module, [(Action<nn.Module>)(_ => action())]) is not { } remover)
        {
            return false;
        }

        removers.Add(remover);
        return true;
    }
}
