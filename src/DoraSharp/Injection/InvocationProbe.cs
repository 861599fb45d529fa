using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What a forward pass shows of how a model invokes its sealed layers and the modules above them.</summary>
/// <param name="Called">The modules that were invoked by <c>call</c>.</param>
/// <param name="Forwarded">The layers that were invoked by <c>forward</c>, which runs no hooks.</param>
internal sealed record InvocationProbe(IReadOnlySet<nn.Module> Called, IReadOnlySet<nn.Module> Forwarded)
{
    /// <summary>Runs a probe once and leaves the model as it was.</summary>
    /// <remarks>
    /// For the time of the probe a layer's weight takes gradients, except while the layer is invoked by <c>call</c>. If a
    /// gradient comes back to it, the layer was invoked by <c>forward</c>.
    /// </remarks>
    public static InvocationProbe Run(IEnumerable<PlannedSite> sites, Func<Tensor> probe)
    {
        using IDisposable direct = Checkpoint.Suspend();
        using var scope = NewDisposeScope();
        HashSet<nn.Module> called = new(ReferenceEqualityComparer.Instance);
        HashSet<nn.Module> watched = new(ReferenceEqualityComparer.Instance);
        List<WatchedLayer> layers = [];
        List<CallHooks> hooks = [];
        try
        {
            foreach (PlannedSite site in sites)
            {
                WatchedLayer layer = WatchedLayer.Of(site.Layer, site.ParameterName ?? "weight");
                layers.Add(layer);
                watched.Add(site.Layer);
                Watch(site.Layer, layer.Hide, layer.Show);
                foreach ((_, nn.Module ancestor) in site.Node.Ancestors().Where(a => watched.Add(a.Module)))
                {
                    Watch(ancestor, null, null);
                }
            }

            using var grad = enable_grad();
            Tensor output = probe() ?? throw new InvalidOperationException("The probe returned null; it must return the model's output.");
            return new(called, WithGradient(output, layers));
        }
        finally
        {
            hooks.ForEach(hook => hook.Dispose());
            layers.ForEach(layer => layer.Dispose());
        }

        void Watch(nn.Module module, Action? before, Action? after)
        {
            CallHooks.TryAdd(
                module,
                () =>
                {
                    called.Add(module);
                    before?.Invoke();
                },
                after,
                out CallHooks hook);
            hooks.Add(hook);
        }
    }

    private static HashSet<nn.Module> WithGradient(Tensor output, List<WatchedLayer> layers)
    {
        HashSet<nn.Module> forwarded = new(ReferenceEqualityComparer.Instance);
        if (output.requires_grad)
        {
            // What threw during its call is hidden still.
            layers.ForEach(layer => layer.Show());
            IList<Tensor> gradients = autograd.grad([output.sum()], [.. layers.Select(layer => layer.Weight)], allow_unused: true);
            forwarded.UnionWith(layers.Zip(gradients).Where(pair => pair.Second is { IsInvalid: false }).Select(pair => pair.First.Layer));
        }

        return forwarded;
    }
}
