using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Lets sealed linear layers that are invoked by <c>forward</c> run on their effective weights for the time of a call
/// of a module above them. Between calls they are what they were, so that the state dict never shows a substitute.
/// </summary>
internal sealed class WeightSubstitution : IDisposable
{
    private readonly List<SubstitutedLayer> layers = [];
    private CallHooks? hooks;

    /// <summary>Substitutes around every call of a module.</summary>
    /// <exception cref="InvalidOperationException">The module has no hooks.</exception>
    public void Around(nn.Module module, string path)
    {
        if (!CallHooks.TryAdd(module, Substitute, Restore, out hooks))
        {
            throw new InvalidOperationException($"{(path.Length == 0 ? "The model" : path)} is a {module.GetType().Name}, which has no forward hooks, so weights cannot be substituted around its calls.");
        }
    }

    /// <summary>Adds a layer whose weight is to be substituted.</summary>
    public void Add(Linear layer, AdapterStack stack) => layers.Add(new(layer, stack));

    public void Dispose()
    {
        hooks?.Dispose();
        layers.ForEach(layer => layer.Dispose());
    }

    // A forward that threw has left its substitutes behind, so they are taken back first.
    private void Substitute() => layers.ForEach(layer => layer.Substitute());

    private void Restore() => layers.ForEach(layer => layer.Restore());
}
