using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A module that runs on an effective weight between <see cref="Substitute"/> and <see cref="Restore"/>.</summary>
internal sealed class SubstitutedLayer(nn.Module module, string parameterName, AdapterStack stack) : IDisposable
{
    private readonly Func<Tensor, IDisposable> run = RunningWeight.Of(module, parameterName);
    private Tensor? effective;
    private IDisposable? substitution;

    /// <summary>The module.</summary>
    public nn.Module Module => module;

    /// <summary>The adapters.</summary>
    public AdapterStack Stack => stack;

    /// <summary>Lets the module run on the effective weight.</summary>
    public void Substitute()
    {
        Restore();
        effective = stack.DifferentiableWeight().DetachFromDisposeScope();
        substitution = run(effective);
    }

    /// <summary>Lets the module run on its own weight again. Autograd holds what it needs of the effective one.</summary>
    public void Restore()
    {
        substitution?.Dispose();
        substitution = null;
        effective?.Dispose();
        effective = null;
    }

    public void Dispose() => Restore();
}
