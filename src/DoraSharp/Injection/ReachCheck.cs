using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Makes sure that a forward pass reaches every adapter that was put in.</summary>
internal static class ReachCheck
{
    /// <summary>Runs the probe.</summary>
    /// <param name="layers">The layers of one adapter.</param>
    /// <param name="adapterName">The adapter, which acts there alone meanwhile.</param>
    /// <param name="probe">The probe.</param>
    /// <exception cref="InvalidOperationException">An adapter was not reached; the message names the first ones and the reason.</exception>
    public static void Run(IReadOnlyList<InstalledLayer> layers, string adapterName, Func<Tensor> probe)
    {
        Dictionary<InstalledLayer, long> before = layers.ToDictionary(layer => layer, layer => layer.Stack.Uses);
        InstalledLayer[] substituted = [.. layers.Where(layer => layer.Choice.Route == InjectionRoute.SubstituteWeight)];
        using IDisposable direct = Checkpoint.Suspend();
        using var scope = NewDisposeScope();
        HashSet<InstalledLayer> withGradient = [];
        IDisposable[] alone = [.. layers.Select(layer => layer.Stack.Alone(adapterName))];
        try
        {
            using var gradients = set_grad_enabled(substituted.Length > 0);
            Tensor output = probe() ?? throw new InvalidOperationException("The probe returned null; it must return the model's output.");
            withGradient.UnionWith(ThoseWithGradient(output, substituted, adapterName));
        }
        finally
        {
            Array.ForEach(alone, scope => scope.Dispose());
        }

        string[] missed =
        [
            .. layers
                .Where(layer => layer.Stack.Uses == before[layer] || (layer.Choice.Route == InjectionRoute.SubstituteWeight && !withGradient.Contains(layer)))
                .Select(layer => $"{layer.Path} ({Reason(layer)})"),
        ];
        if (missed.Length > 0)
        {
            string more = missed.Length > 3 ? $", and {missed.Length - 3} more" : "";
            throw new InvalidOperationException($"The probe did not reach {string.Join("; ", missed.Take(3))}{more}. Nothing was changed. Exclude what the model does not run by ExcludeModules.");
        }
    }

    /// <summary>
    /// A layer with a substituted weight runs unseen, but the gradient of what it computed comes back to its adapter.
    /// Nothing is accumulated: the gradients that the caller gathers are left alone.
    /// </summary>
    private static InstalledLayer[] ThoseWithGradient(Tensor output, InstalledLayer[] substituted, string adapterName)
    {
        if (substituted.Length == 0)
        {
            return [];
        }

        if (!output.requires_grad)
        {
            throw new InvalidOperationException(
                $"The probe's output carries no gradient, so it cannot be seen whether {substituted[0].Path} runs on its substituted weight: " +
                "the probe must not run under no_grad, and must return what the model computes.");
        }

        IList<Tensor> inputs = [.. substituted.Select(layer => Trained(layer.Stack[adapterName]))];
        IList<Tensor> gradients = autograd.grad([output.sum()], inputs, allow_unused: true);
        return [.. substituted.Zip(gradients).Where(pair => pair.Second is { IsInvalid: false }).Select(pair => pair.First)];
    }

    private static Tensor Trained(Adapter adapter) => adapter switch
    {
        LowRankAdapter update => update.Sources[0],
        TokenAdapter tokens => tokens.Rows,
        _ => adapter.parameters().First(),
    };

    private static string Reason(InstalledLayer layer) => layer.Choice.Route switch
    {
        InjectionRoute.Replace =>
            $"replaced in {string.Join(", ", layer.Site.Slots.Select(slot => slot.Description))}, but the model does not run it from there: it may keep another " +
            "reference in a delegate or an object that is no module, or not run this layer at all",
        InjectionRoute.Hook => "its hook did not fire: the model invokes it by forward(...), or not at all",
        _ => "no gradient came back to its substituted weight: the model does not run it, or runs it outside the hooked call",
    };
}
