using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Makes sure that a forward pass reaches every adapter that was put in.</summary>
internal static class ReachCheck
{
    /// <summary>Runs the probe.</summary>
    /// <exception cref="InvalidOperationException">An adapter was not reached; the message names the first ones and the reason.</exception>
    public static void Run(IReadOnlyList<InstalledLayer> layers, Func<Tensor> probe)
    {
        Dictionary<InstalledLayer, long> before = layers.ToDictionary(layer => layer, layer => layer.Stack.Uses);
        InstalledLayer[] substituted = [.. layers.Where(layer => layer.Choice.Route == InjectionRoute.SubstituteWeight)];
        using var scope = NewDisposeScope();
        using (set_grad_enabled(substituted.Length > 0))
        {
            Tensor output = probe() ?? throw new InvalidOperationException("The probe returned null; it must return the model's output.");
            if (substituted.Length > 0)
            {
                Backpropagate(output, substituted[0].Path);
            }
        }

        string[] missed = [.. layers.Where(layer => layer.Stack.Uses == before[layer] || (substituted.Contains(layer) && !HasGradient(layer))).Select(layer => $"{layer.Path} ({Reason(layer)})")];
        foreach (Parameter parameter in substituted.SelectMany(layer => layer.Stack.parameters()))
        {
            parameter.grad = null;
        }

        if (missed.Length > 0)
        {
            string more = missed.Length > 3 ? $", and {missed.Length - 3} more" : "";
            throw new InvalidOperationException($"The probe did not reach {string.Join("; ", missed.Take(3))}{more}. Nothing was changed. Exclude what the model does not run by ExcludeModules.");
        }
    }

    /// <summary>A substituted weight is seen by the gradient that comes back to it: the layer itself runs unseen.</summary>
    private static void Backpropagate(Tensor output, string path)
    {
        if (output.requires_grad)
        {
            output.sum().backward();
            return;
        }

        throw new InvalidOperationException(
            $"The probe's output carries no gradient, so it cannot be seen whether {path} runs on its substituted weight: " +
            "the probe must not run under no_grad, and must return what the model computes.");
    }

    private static bool HasGradient(InstalledLayer layer)
    {
        foreach (Parameter parameter in layer.Stack.parameters())
        {
            using Tensor? gradient = parameter.grad;
            if (gradient is not null)
            {
                return true;
            }
        }

        return false;
    }

    private static string Reason(InstalledLayer layer) => layer.Choice.Route switch
    {
        InjectionRoute.Replace =>
            $"replaced in {string.Join(", ", layer.Site.Slots.Select(slot => slot.Description))}, but the model does not run it from there: it may keep another " +
            "reference in a delegate or an object that is no module, or not run this layer at all",
        InjectionRoute.Hook => "its hook did not fire: the model invokes it by forward(...), or not at all",
        _ => "no gradient came back to its substituted weight: the model does not run it, or runs it outside the hooked call",
    };
}
