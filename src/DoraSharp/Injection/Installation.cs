using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The adapters that were put into a model, and the way to take them out again without a trace.</summary>
internal sealed class Installation : IDisposable
{
    private readonly Stack<Action> undo = new();
    private readonly List<InstalledLayer> layers = [];

    private Installation()
    {
    }

    /// <summary>The layers, in model order.</summary>
    public IReadOnlyList<InstalledLayer> Layers => layers;

    /// <summary>Carries a plan out, or throws and leaves the model as it was.</summary>
    public static Installation Install(nn.Module model, IReadOnlyList<PlannedSite> sites, RouteChoice[] routes, string adapterName)
    {
        Installation installation = new();
        try
        {
            FrozenFlags flags = FrozenFlags.Freeze(model);
            installation.undo.Push(flags.Restore);
            Dictionary<nn.Module, WeightSubstitution> substitutions = new(ReferenceEqualityComparer.Instance);
            for (int i = 0; i < sites.Count; i++)
            {
                AdapterStack stack = routes[i].Route == InjectionRoute.Replace
                    ? installation.Replace(sites[i])
                    : installation.Attach(sites[i], routes[i], substitutions);
                stack.Add(adapterName, sites[i].Options);
                installation.layers.Add(new(sites[i], routes[i], stack));
            }

            return installation;
        }
        catch
        {
            installation.Dispose();
            throw;
        }
    }

    /// <summary>Takes the adapters out: every slot holds what it held, every hook is gone, what trained before trains again.</summary>
    public void Dispose()
    {
        while (undo.TryPop(out Action? action))
        {
            action();
        }

        layers.Clear();
    }

    private AdapterStack Replace(PlannedSite site)
    {
        AdaptedLinear wrapper = new(site.Layer, ownsBase: true);
        undo.Push(() =>
        {
            // The model, and with it the layer, may have been disposed before its handle.
            if (!site.Layer.weight.IsInvalid)
            {
                site.Layer.train(wrapper.training);
            }

            wrapper.OwnsBase = false;
            wrapper.Dispose();
        });
        foreach (ModuleSlot slot in site.Slots)
        {
            slot.Set(wrapper);
            undo.Push(() => slot.Set(site.Layer));
        }

        return wrapper.Adapters;
    }

    private AdapterStack Attach(PlannedSite site, RouteChoice choice, Dictionary<nn.Module, WeightSubstitution> substitutions)
    {
        LoraAdapter.CheckBase(site.Layer);
        AdapterStack stack = new(new DenseWeight(site.Layer));
        stack.train(site.Layer.training);

        // A child of a Linear would not follow model.to(...), so the adapters become a sibling.
        nn.Module owner = site.Node.Owner;
        string name = $"{site.Node.Name}_adapters";
        if (owner.named_children().Any(child => child.name == name))
        {
            throw new InvalidOperationException($"The adapters of {site.Node.Path} would be registered beside it as '{name}', but there is such a module already. Nothing was changed.");
        }

        ModuleInternals.Children(owner).Add(name, stack);
        undo.Push(() =>
        {
            ModuleInternals.Children(owner).Remove(name);
            stack.Dispose();
        });
        if (choice.Route == InjectionRoute.Hook)
        {
            var hook = site.Layer.register_forward_hook((_, x, z) => stack.Apply(x, z, ownsOutput: !ModuleInternals.OutputIsSeen(site.Layer, own: 1)));
            undo.Push(hook.remove);
            return stack;
        }

        if (!substitutions.TryGetValue(choice.Around!, out WeightSubstitution? substitution))
        {
            substitution = new WeightSubstitution();
            substitution.Around(choice.Around!, choice.AroundPath);
            substitutions.Add(choice.Around!, substitution);
            undo.Push(substitution.Dispose);
        }

        substitution.Add(site.Layer, stack);
        return stack;
    }
}
