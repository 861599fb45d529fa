using TorchSharp.Modules;
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

    /// <summary>What is in place now, for <see cref="RollBack"/>.</summary>
    public (int Steps, int Layers) Mark => (undo.Count, layers.Count);

    /// <summary>Whether a site is adapted already.</summary>
    public bool Has(PlannedSite site) => At(site).Any();

    /// <summary>Takes out what was put in place since, of which no adapter may be left.</summary>
    public void RollBack((int Steps, int Layers) mark)
    {
        Undo(mark.Steps);
        layers.RemoveRange(mark.Layers, layers.Count - mark.Layers);
    }

    /// <summary>Adds an adapter to its sites, which are adapted first where they are not; or throws and leaves the model as it was.</summary>
    /// <param name="name">The adapter's name.</param>
    /// <param name="sites">The sites.</param>
    /// <param name="route">The route of a site that is not adapted yet.</param>
    /// <param name="add">Adds the adapter to a weight's stack.</param>
    public void Add(string name, IReadOnlyList<PlannedSite> sites, Func<PlannedSite, RouteChoice> route, Action<InstalledLayer, PlannedSite> add)
    {
        (int Steps, int Layers) mark = Mark;
        List<AdapterStack> extended = [];
        try
        {
            foreach (PlannedSite site in sites)
            {
                if (!Has(site))
                {
                    Install(site, route(site));
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
            RollBack(mark);
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
        try
        {
            IReadOnlyList<AdaptedWeight> weights = (choice.Route, site.Layer) switch
            {
                (InjectionRoute.Replace, _) => Replace(site),
                (InjectionRoute.Hook, MultiheadAttention attention) => Hook(attention, site),
                (InjectionRoute.Hook, _) => Hook(site),
                _ => Substitute(site, choice),
            };
            layers.AddRange(weights.Select(weight => new InstalledLayer(
                site, choice, weight.Name.Length == 0 ? site.Path : $"{site.Path}.{weight.Name}", site.DiskPath + weight.DiskSuffix, weight.Stack)));
        }
        catch (NotSupportedException exception)
        {
            throw new NotSupportedException($"{site.Path}: {exception.Message} Nothing was changed.", exception);
        }
    }

    private IReadOnlyList<AdaptedWeight> Replace(PlannedSite site)
    {
        IAdaptedModule wrapper = LayerKinds.Wrap(site.Layer, site.Options, site.Attention);
        undo.Push(() =>
        {
            // The model, and with it the layer, may have been disposed before its handle.
            if (site.Layer.named_parameters(recurse: false).FirstOrDefault().parameter is { IsInvalid: false })
            {
                site.Layer.train(((nn.Module)wrapper).training);
            }

            wrapper.OwnsBase = false;
            wrapper.Dispose();
        });
        foreach (ModuleSlot slot in site.Slots)
        {
            slot.Set((nn.Module)wrapper);
            undo.Push(() => slot.Set(site.Layer));
        }

        return wrapper.Weights;
    }

    private AdaptedWeight[] Hook(PlannedSite site)
    {
        AdapterStack stack = LayerKinds.StackFor(site.Layer, site.Options);
        AdaptedWeight weight = new("", "", stack);
        Register(weight, site);
        nn.Module<Tensor, Tensor> layer = (nn.Module<Tensor, Tensor>)site.Layer;
        if (stack.Geometry.ForwardWritesWeight && layer is Embedding embedding)
        {
            undo.Push(ReplacedForward.Of(embedding, x => stack.Apply(x, stack.Geometry.Product(x, stack.Weight), ownsOutput: true)));
        }
        else
        {
            var hook = layer.register_forward_hook((_, x, z) => stack.Apply(x, z, ownsOutput: !ModuleInternals.OutputIsSeen(layer, own: 1)));
            undo.Push(hook.remove);
        }

        return [weight];
    }

    private IReadOnlyList<AdaptedWeight> Hook(MultiheadAttention layer, PlannedSite site)
    {
        AttentionAdapters adapters = new(layer, site.Attention);
        if (!adapters.RunsNative)
        {
            throw new NotSupportedException(
                $"This attention has keys and values of different widths, of which libtorch's own forward refuses every call: hold it in a field that can hold an {nameof(AdaptedAttention)} " +
                "instead, declared as Module<Tensor, Tensor, Tensor, Tensor, bool, Tensor, Tuple<Tensor, Tensor>>.");
        }

        foreach (AdaptedWeight weight in adapters.Weights)
        {
            Register(weight, site);
        }

        undo.Push(ReplacedForward.Of(layer, adapters));
        return adapters.Weights;
    }

    private AdaptedWeight[] Substitute(PlannedSite site, RouteChoice choice)
    {
        AdapterStack stack = site.ParameterName is { } parameter
            ? LayerKinds.StackFor(site.Layer, parameter)
            : LayerKinds.StackFor(site.Layer, site.Options);
        AdaptedWeight weight = new("", "", stack);
        Register(weight, site);
        if (stack.Geometry.WhyNotSubstitutable is { } reason)
        {
            throw new NotSupportedException(
                $"It is invoked by forward(...), which runs no hooks, and cannot run on an effective weight: {reason}. " +
                "Invoke it by call(...), or declare its field as Module<Tensor, Tensor>.");
        }

        SubstitutionFor(choice).Add(site.Layer, site.ParameterName ?? "weight", stack);
        return [weight];
    }

    // A child of a sealed layer would not follow model.to(...), so the adapters become a sibling.
    private void Register(AdaptedWeight weight, PlannedSite site)
    {
        AdapterStack stack = weight.Stack;
        stack.train(site.Layer.training);
        nn.Module owner = site.ParameterName is null ? site.Node.Owner : site.Layer;
        string part = weight.Name.Length == 0 ? "" : $"_{weight.Name}";
        string name = $"{site.ParameterName ?? site.Node.Name}{part}_adapters";
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
