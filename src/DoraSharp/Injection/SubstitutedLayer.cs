using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A module that runs on an effective weight between <see cref="Substitute"/> and <see cref="Restore"/>.</summary>
internal sealed class SubstitutedLayer(nn.Module module, string parameterName, AdapterStack stack) : IDisposable
{
    // A module can only run on a Parameter. This one lends its place to each effective weight in turn.
    private readonly Parameter stand = (Parameter)new Parameter(empty(0)).DetachFromDisposeScope();
    private readonly RunningParameter running = RunningParameter.Of(module, parameterName);
    private Parameter? original;
    private Tensor? effective;

    /// <summary>Lets the module run on the effective weight.</summary>
    public void Substitute()
    {
        Restore();
        effective = stack.DifferentiableWeight().DetachFromDisposeScope();
        SwapHandles(stand, effective);
        original = running.Value;
        running.Value = stand;
    }

    /// <summary>Lets the module run on its own weight again. Autograd holds what it needs of the effective one.</summary>
    public void Restore()
    {
        if (original is null || effective is null)
        {
            return;
        }

        running.Value = original;
        original = null;
        SwapHandles(stand, effective);
        effective.Dispose();
        effective = null;
    }

    public void Dispose()
    {
        Restore();
        stand.Dispose();
    }

    private static void SwapHandles(Tensor a, Tensor b) =>
        (ModuleInternals.Handle(a), ModuleInternals.Handle(b)) = (ModuleInternals.Handle(b), ModuleInternals.Handle(a));
}
