using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Lets sealed linear layers that are invoked by <c>forward</c> run on their effective weights for the time of a call
/// of a module above them. Between calls they are what they were, so that the state dict never shows a substitute.
/// </summary>
internal sealed class WeightSubstitution : IDisposable
{
    private readonly List<(Linear Layer, AdapterStack Stack, Parameter? Original)> layers = [];
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

    public void Add(Linear layer, AdapterStack stack) => layers.Add((layer, stack, null));

    public void Dispose()
    {
        Restore();
        hooks?.Dispose();
    }

    private void Substitute()
    {
        // A forward that threw has left its substitutes behind.
        Restore();
        for (int i = 0; i < layers.Count; i++)
        {
            (Linear layer, AdapterStack stack, _) = layers[i];
            Tensor effective = stack.DifferentiableWeight();
            ref Parameter running = ref ModuleInternals.RunningWeight(layer);
            layers[i] = (layer, stack, running);
            running = (Parameter)new Parameter(effective, effective.requires_grad).DetachFromDisposeScope();
        }
    }

    private void Restore()
    {
        for (int i = 0; i < layers.Count; i++)
        {
            (Linear layer, AdapterStack stack, Parameter? original) = layers[i];
            if (original is not null)
            {
                ref Parameter running = ref ModuleInternals.RunningWeight(layer);

                // Autograd holds what it needs of the substitute.
                running.Dispose();
                running = original;
                layers[i] = (layer, stack, null);
            }
        }
    }
}
