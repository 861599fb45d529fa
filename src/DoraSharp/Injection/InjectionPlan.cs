using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What an injection is going to do.</summary>
/// <param name="Sites">The layers and parameters to adapt, in model order.</param>
/// <param name="Trained">Parameters of the model itself that train, and the buffers of modules that are saved whole: the module, the name there, the name in files.</param>
/// <param name="LeftAlone">The paths of the linear layers that are not adapted.</param>
/// <param name="Unmatched">Entries of the options that matched nothing.</param>
/// <param name="SavedOptions">The options as a file gives them.</param>
internal sealed record InjectionPlan(
    IReadOnlyList<PlannedSite> Sites,
    IReadOnlyList<(nn.Module Owner, string Name, string FileName)> Trained,
    IReadOnlyList<string> LeftAlone,
    IReadOnlyList<string> Unmatched,
    AdapterOptions SavedOptions)
{
    /// <summary>Whether the adapter's initial values may be looked for in the base weights, which they may change.</summary>
    public bool Initializes { get; init; } = true;

    private const string OutputBias = "out_proj.bias";

    /// <summary>Makes the plan without touching the model.</summary>
    /// <param name="model">The model, adapted or not.</param>
    /// <param name="options">What to adapt.</param>
    /// <param name="injection">How to go about it.</param>
    /// <param name="adapterName">The adapter's name.</param>
    /// <exception cref="ArgumentException">A target matches nothing, or something that cannot be adapted.</exception>
    public static InjectionPlan Make(nn.Module model, AdapterOptions options, InjectionOptions injection, string adapterName)
    {
        if (LayerKinds.Of(model) != LayerKind.None)
        {
            throw new ArgumentException(
                $"The model is itself a layer, which nothing holds: wrap it by {nameof(AdaptedLayer)}.{nameof(AdaptedLayer.From)}, {nameof(LoraLinear)}.From, {nameof(DoraLinear)}.From or {nameof(AdaptedAttention)}.{nameof(AdaptedAttention.From)}.", nameof(model));
        }

        ModuleTree tree = ModuleTree.Of(model);
        TargetMatch match = TargetMatcher.Match(ModelDescriber.Describe(model, tree, injection), LoraOptions.From(options), injection.AllowUnmatchedTargets, adapterName);
        RefuseCombinations(match, options);
        Dictionary<string, ModuleNode> nodes = tree.Nodes.ToDictionary(node => node.Path, StringComparer.Ordinal);
        nodes[""] = new("", "", model, model, null);
        Dictionary<nn.Module, List<ModuleSlot>> slots = SlotFinder.Find(
            model, tree, match.Sites.Select(site => site.ModulePath).Concat(match.TrainableTokens.Select(tokens => tokens.Path)).Distinct().Select(path => nodes[path].Module));
        PlannedSite[] sites =
        [
            // The weights of an attention are one site.
            .. match.Sites.DistinctBy(site => (site.ModulePath, site.Parameter)).Select(site => new PlannedSite(
                nodes[site.ModulePath], site.Parameter, site.Kind == LayerKind.Parameter ? site.DiskPath : site.ModulePath, options is LoraOptions ? site.Options : options, slots[nodes[site.ModulePath].Module])
                {
                    TiedTo = site.TiedTo,
                    Attention = injection.Attention?.Invoke(site.ModulePath),
                }),
            .. match.TrainableTokens.Select(tokens => new PlannedSite(
                nodes[tokens.Path], null, tokens.Path, options, slots[nodes[tokens.Path].Module]) { Tokens = tokens.Indices, TiedTo = tokens.TiedTo }),
        ];
        string[] leftAlone =
        [
            .. tree.Nodes.Where(node => LayerKinds.Of(node.Module) is LayerKind.Linear or LayerKind.TransposedLinear).Select(node => node.Path)
                .Except(sites.Select(site => site.Node.Path), StringComparer.Ordinal),
        ];
        return new(
            sites,
            [.. SavedModules(match, nodes), .. Biases(match, nodes)],
            leftAlone,
            [.. match.Unmatched.Select(entry => entry.ToString())],
            options is LoraOptions lora ? lora with { FanInFanOut = match.RewrittenOptions.FanInFanOut } : options);
    }

    /// <summary>Throws if the model has adapters already.</summary>
    /// <exception cref="InvalidOperationException">It has.</exception>
    public static void RefuseAdapted(nn.Module model)
    {
        if (model is IAdaptedModule or AdapterStack || model.modules().Any(m => m is AdapterStack))
        {
            throw new InvalidOperationException(
                "The model is adapted already. Add further adapters by its AdaptedModel, or take its adapters out first: Unload or MergeAndUnload on its " +
                "AdaptedModel, or Unload on a LoraLinear or DoraLinear that was put in by hand.");
        }
    }

    private static void RefuseCombinations(TargetMatch match, AdapterOptions options)
    {
        if (match.TrainableTokens.FirstOrDefault(tokens => match.Sites.Any(site => site.Path == tokens.Path)) is { } both)
        {
            throw new ArgumentException(
                $"{both.Path} is adapted as a whole ({nameof(LoraOptions.TargetModules)}) and by rows ({nameof(LoraOptions.TrainableTokens)}) by one adapter; choose one of them, or give the rows an adapter of their own.");
        }

        if (options is VeraOptions && match.Sites.FirstOrDefault(site => site.Kind == LayerKind.MultiheadAttention) is { } attention)
        {
            throw new ArgumentException(
                $"{attention.Path} is an attention, which VeRA does not adapt. Leave it out by {nameof(AdapterOptions.ExcludeModules)}, or use LoRA or DoRA.");
        }
    }

    private static IEnumerable<(nn.Module Owner, string Name, string FileName)> SavedModules(TargetMatch match, Dictionary<string, ModuleNode> nodes)
    {
        HashSet<nn.Module> seen = new(ReferenceEqualityComparer.Instance);
        foreach (string saved in match.ModulesToSave)
        {
            foreach (ModuleNode node in nodes.Values)
            {
                string? path = node.Aliases.Prepend(node.Path).FirstOrDefault(path => path == saved || path.StartsWith(saved + ".", StringComparison.Ordinal));
                if (path is null || !seen.Add(node.Module))
                {
                    continue;
                }

                if (node.Module is QuantizedLayer)
                {
                    throw new ArgumentException(
                        $"{nameof(AdapterOptions.ModulesToSave)} '{saved}' would train {path}, which is quantized and therefore frozen. Adapt it, or put the layer that {nameof(QuantizedLinear.Dequantize)} gives in its place.");
                }

                IEnumerable<string> names = node.Module.named_parameters(recurse: false).Select(parameter => parameter.name)
                    .Concat(node.Module.named_buffers(recurse: false, include_nonpersistent: false).Select(buffer => buffer.name));
                foreach (string name in names)
                {
                    yield return (node.Module, name, $"{path}.{name}");
                }
            }
        }
    }

    private static IEnumerable<(nn.Module Owner, string Name, string FileName)> Biases(TargetMatch match, Dictionary<string, ModuleNode> nodes)
    {
        HashSet<string> adapted = [.. match.Sites.Select(site => site.Path)];
        foreach (string bias in match.TrainedBiases)
        {
            // An attention holds its output projection's parameters itself, so that their names have a dot.
            string path = bias;
            do
            {
                path = path[..Math.Max(path.LastIndexOf('.'), 0)];
            }
            while (!nodes.ContainsKey(path));

            string name = path.Length == 0 ? bias : bias[(path.Length + 1)..];
            string inFile = name == OutputBias ? "out_proj.base_layer.bias" : name;
            yield return (nodes[path].Module, name, adapted.Contains(path) ? $"{path}.base_layer.{inFile}" : bias);
        }
    }
}
