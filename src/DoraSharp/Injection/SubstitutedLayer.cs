using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A sealed linear layer that runs on its effective weight between <see cref="Substitute"/> and <see cref="Restore"/>.</summary>
internal sealed class SubstitutedLayer(Linear layer, AdapterStack stack) : IDisposable
{
    // A layer can only run on a Parameter. This one lends its place to each effective weight in turn.
    private readonly Parameter stand = (Parameter)new Parameter(empty(0)).DetachFromDisposeScope();
    private Parameter? original;
    private Tensor? effective;

    /// <summary>Lets the layer run on the effective weight.</summary>
    public void Substitute()
    {
        Restore();
        effective = stack.DifferentiableWeight().DetachFromDisposeScope();
        SwapHandles(stand, effective);
        ref Parameter running = ref ModuleInternals.RunningWeight(layer);
        original = running;
        running = stand;
    }

    /// <summary>Lets the layer run on its own weight again. Autograd holds what it needs of the effective one.</summary>
    public void Restore()
    {
        if (original is null || effective is null)
        {
            return;
        }

        ModuleInternals.RunningWeight(layer) = original;
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
