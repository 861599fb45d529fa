using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Gives modules copies of a weight that they share with others, so that a merge changes one of them alone; and takes it back.</summary>
internal sealed class Untying : IDisposable
{
    private readonly Stack<(nn.Module Module, string Name, Parameter Shared, Parameter Own)> copies = new();

    /// <summary>Whether a module's parameter can be given another place: not where libtorch itself holds it.</summary>
    public static bool CanCopy(nn.Module module) => module is not (Embedding or EmbeddingBag or MultiheadAttention);

    /// <summary>Whether a module's parameter is a copy already.</summary>
    public bool Has(nn.Module module, string name) => copies.Any(copy => ReferenceEquals(copy.Module, module) && copy.Name == name);

    /// <summary>Puts a copy of the parameter in its place.</summary>
    /// <exception cref="NotSupportedException">No field of the module holds the parameter.</exception>
    public void Copy(nn.Module module, string name)
    {
        RunningParameter running = RunningParameter.Of(module, name);
        Parameter shared = running.Value;
        using var noGrad = no_grad();
        Parameter own = (Parameter)new Parameter(shared.detach().clone(), shared.requires_grad).DetachFromDisposeScope();
        Put(module, name, running, own);
        copies.Push((module, name, shared, own));
    }

    /// <summary>Keeps the copies.</summary>
    public void Keep() => copies.Clear();

    /// <summary>Puts the shared parameters back.</summary>
    public void Dispose()
    {
        while (copies.TryPop(out (nn.Module Module, string Name, Parameter Shared, Parameter Own) copy))
        {
            Put(copy.Module, copy.Name, RunningParameter.Of(copy.Module, copy.Name), copy.Shared);
            copy.Own.Dispose();
        }
    }

    private static void Put(nn.Module module, string name, RunningParameter running, Parameter parameter)
    {
        running.Value = parameter;
        ModuleInternals.Parameters(module)[name] = parameter;
    }
}
