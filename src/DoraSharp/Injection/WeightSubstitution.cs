using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Lets modules run on effective weights for the time of a call: of themselves, or of a module above them. Between calls
/// they are what they were, so that the state dict never shows a substitute.
/// </summary>
internal sealed class WeightSubstitution : IDisposable
{
    private readonly List<SubstitutedLayer> layers = [];
    private readonly List<CallHooks> hooks = [];
    private int? outermost;

    /// <summary>Substitutes around every call of a module. Of several modules the outermost must come first.</summary>
    /// <exception cref="InvalidOperationException">The module has no hooks.</exception>
    public void Around(nn.Module module, string path)
    {
        int level = hooks.Count;
        if (!CallHooks.TryAdd(module, () => Substitute(level), () => Restore(level), out CallHooks added))
        {
            throw new InvalidOperationException($"{(path.Length == 0 ? "The model" : path)} is a {module.GetType().Name}, which has no forward hooks, so weights cannot be substituted around its calls.");
        }

        hooks.Add(added);
    }

    /// <summary>Adds a module one of whose parameters is to be substituted.</summary>
    public void Add(nn.Module module, string parameterName, AdapterStack stack) => layers.Add(new(module, parameterName, stack));

    public void Dispose()
    {
        hooks.ForEach(hook => hook.Dispose());
        layers.ForEach(layer => layer.Dispose());
    }

    // A forward that threw has left its substitutes behind, so each call takes fresh ones.
    private void Substitute(int level)
    {
        outermost = Math.Min(outermost ?? level, level);
        layers.ForEach(layer => layer.Substitute());
    }

    private void Restore(int level)
    {
        if (level == outermost)
        {
            outermost = null;
            layers.ForEach(layer => layer.Restore());
        }
    }
}
