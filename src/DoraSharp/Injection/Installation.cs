using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The adapters that were put into a model, and the way to take them out again without a trace.</summary>
internal sealed class Installation : IDisposable
{
    private readonly Stack<Action> undo = new();
    private readonly List<InstalledLayer> layers = [];
    private readonly Dictionary<nn.Module, WeightSubstitution> substitutions = new(ReferenceEqualityComparer.Instance);
    private readonly nn.Module model;

    public Installation(nn.Module model)
    {
        this.model = model;
        FrozenFlags flags = FrozenFlags.Freeze(model);
        undo.Push(flags.Restore);
    }

    /// <summary>The adapted weights, in the order in which they were adapted.</summary>
    public IReadOnlyList<InstalledLayer> Layers => layers;

    /// <summary>Adds an adapter to its sites, which are adapted first where they are not; or throws and leaves the model as it was.</summary>
    /// <param name="name">The adapter's name.</param>
    /// <param name="sites">The sites.</param>
    /// <param name="routes">The sites' routes, in the same order; they count where a site is not adapted yet.</param>
    /// <param name="add">Adds the adapter to a weight's stack.</param>
    public void Add(string name, IReadOnlyList<PlannedSite> sites, IReadOnlyList<RouteChoice> routes, Action<InstalledLayer, PlannedSite> add)
    {
        int steps = undo.Count;
        int installed = layers.Count;
        List<AdapterStack> extended = [];
        try
        {
            for (int i = 0; i < sites.Count; i++)
            {
                PlannedSite site = sites[i];
                if (!At(site).Any())
                {
                    Install(site, routes[i]);
                }

                foreach (InstalledLayer layer in At(site))
                {
                    add(layer, site);
                    extended.Add(layer.Stack);
                }
            }
        }
        catch
        {
            extended.ForEach(stack => stack.Delete(name));
            Undo(steps);
            layers.RemoveRange(installed, layers.Count - installed);
            throw;
        }
    }

    /// <summary>Keeps an action for the time when the adapters are taken out.</summary>
    public void OnRemoval(Action action) => undo.Push(action);

    /// <summary>Takes the adapters out: every slot holds what it held, every hook is gone, what trained before trains again.</summary>
    public void Dispose()
    {
        Undo(0);
        layers.Clear();
    }

    private IEnumerable<InstalledLayer> At(PlannedSite site) =>
        layers.Where(layer => ReferenceEquals(layer.Site.Layer, site.Layer) && layer.Site.ParameterName == site.ParameterName);

    private void Undo(int steps)
    {
        while (undo.Count > steps)
        {
            undo.Pop()();
        }
    }

    private void Install(PlannedSite site, RouteChoice choice)
    {
        AdapterStack stack = choice.Route == InjectionRoute.Replace ? Replace(site) : Attach(site, choice);
        layers.Add(new(site, choice, site.Path, site.DiskPath, stack));
    }

    private AdapterStack Replace(PlannedSite site)
    {
        AdaptedLayer wrapper = LayerKinds.Wrap(site.Layer, site.Options);
        undo.Push(() =>
        {
            // The model, and with it the layer, may have been disposed before its handle.
            if (site.Layer.get_parameter("weight") is { IsInvalid: false })
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

    private AdapterStack Attach(PlannedSite site, RouteChoice choice)
    {
        AdapterStack stack = site.ParameterName is { } parameter
            ? LayerKinds.StackFor(site.Layer, parameter)
            : LayerKinds.StackFor(site.Layer, site.Options);
        stack.train(site.Layer.training);
        Register(stack, site);
        if (choice.Route == InjectionRoute.Hook)
        {
            nn.Module<Tensor, Tensor> layer = (nn.Module<Tensor, Tensor>)site.Layer;
            var hook = layer.register_forward_hook((_, x, z) => stack.Apply(x, z, ownsOutput: !ModuleInternals.OutputIsSeen(layer, own: 1)));
            undo.Push(hook.remove);
            return stack;
        }

        SubstitutionFor(choice).Add(site.Layer, site.ParameterName ?? "weight", stack);
        return stack;
    }

    // A child of a sealed layer would not follow model.to(...), so the adapters become a sibling.
    private void Register(AdapterStack stack, PlannedSite site)
    {
        nn.Module owner = site.ParameterName is null ? site.Node.Owner : site.Layer;
        string name = $"{site.ParameterName ?? site.Node.Name}_adapters";
        if (owner.named_children().Any(child => child.name == name))
        {
            throw new InvalidOperationException($"The adapters of {site.Path} would be registered beside it as '{name}', but there is such a module already. Nothing was changed.");
        }

        ModuleInternals.Children(owner).Add(name, stack);
        undo.Push(() =>
        {
            ModuleInternals.Children(owner).Remove(name);
            stack.Dispose();
        });
    }

    private WeightSubstitution SubstitutionFor(RouteChoice choice)
    {
        nn.Module around = choice.Around!;
        if (!substitutions.TryGetValue(around, out WeightSubstitution? substitution))
        {
            substitution = new WeightSubstitution();
            foreach ((nn.Module module, string path) in choice.AlsoAroundModel && !ReferenceEquals(around, model) ? [(model, ""), (around, choice.AroundPath)] : new[] { (around, choice.AroundPath) })
            {
                substitution.Around(module, path);
            }

            substitutions.Add(around, substitution);
            undo.Push(() =>
            {
                substitutions.Remove(around);
                substitution.Dispose();
            });
        }

        return substitution;
    }
}
