using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Lets a module run on another weight, which may carry autograd history, until it is disposed.</summary>
internal sealed class ParameterSubstitution : IDisposable
{
    // A module can only run on a Parameter; this one takes over a view of the weight.
    private readonly Parameter stand = (Parameter)new Parameter(empty(0)).DetachFromDisposeScope();
    private readonly RunningParameter place;
    private readonly Parameter original;

    /// <summary>Substitutes a weight.</summary>
    /// <param name="place">From where the module's forward reads its weight.</param>
    /// <param name="weight">What it is to read there.</param>
    public ParameterSubstitution(RunningParameter place, Tensor weight)
    {
        this.place = place;
        using (Tensor view = weight.alias())
        {
            (ModuleInternals.Handle(stand), ModuleInternals.Handle(view)) = (ModuleInternals.Handle(view), ModuleInternals.Handle(stand));
        }

        original = place.Value;
        place.Value = stand;
    }

    /// <summary>Gives the module its own weight back. Autograd holds what it needs of the other one.</summary>
    public void Dispose()
    {
        place.Value = original;
        stand.Dispose();
    }
}
