using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Lets modules run on effective weights for the time of a call: of themselves, or of a module above them. Between calls
/// they are what they were, so that the state dict never shows a substitute.
/// </summary>
internal sealed class WeightSubstitution : IDisposable
{
    /// <summary>Those within a call of which this thread is.</summary>
    [ThreadStatic]
    private static HashSet<WeightSubstitution>? running;

    private readonly List<SubstitutedLayer> layers = [];
    private readonly List<nn.Module> surrounded = [];
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
        surrounded.Add(module);
    }

    /// <summary>Adds a module one of whose parameters is to be substituted.</summary>
    public void Add(nn.Module module, string parameterName, AdapterStack stack) => layers.Add(new(module, parameterName, stack));

    /// <summary>
    /// Notes the adapters of the weights that are substituted now and will be again when a call is repeated (<see cref="AdapterUse"/>). Throws where
    /// some would not be.
    /// </summary>
    /// <param name="module">What is called; <see langword="null"/> where that is not known.</param>
    /// <exception cref="InvalidOperationException">Weights are substituted around a module above.</exception>
    public static void NoteRepeated(nn.Module? module)
    {
        if (running is not { Count: > 0 } substitutions)
        {
            return;
        }

        HashSet<nn.Module>? repeated = module is null ? null : new(module.modules().Prepend(module), ReferenceEqualityComparer.Instance);
        foreach (WeightSubstitution substitution in substitutions.Where(s => repeated is null || s.layers.Exists(layer => repeated.Contains(layer.Module))))
        {
            if (repeated is null || !substitution.surrounded.Exists(repeated.Contains))
            {
                throw new InvalidOperationException(
                    $"A gradient checkpoint cannot run here: layers run on a substituted weight ({nameof(InjectionRoute.SubstituteWeight)}) for the time of a call of a module above the checkpoint, and would not " +
                    "when it is repeated. Put the checkpoint around that module, or declare the layers' fields as Module<Tensor, Tensor> or invoke them by call(...), so that no weight has to be substituted.");
            }

            substitution.layers.ForEach(layer => AdapterUse.Note(layer.Stack));
        }
    }

    public void Dispose()
    {
        running?.Remove(this);
        hooks.ForEach(hook => hook.Dispose());
        layers.ForEach(layer => layer.Dispose());
    }

    // A forward that threw has left its substitutes behind, so each call takes fresh ones.
    private void Substitute(int level)
    {
        (running ??= []).Add(this);
        outermost = Math.Min(outermost ?? level, level);
        layers.ForEach(layer => layer.Substitute());
    }

    private void Restore(int level)
    {
        if (level == outermost)
        {
            outermost = null;
            running?.Remove(this);
            layers.ForEach(layer => layer.Restore());
        }
    }
}
