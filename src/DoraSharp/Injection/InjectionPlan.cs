using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What an injection is going to do.</summary>
/// <param name="Sites">The layers to adapt, in model order.</param>
/// <param name="LeftAlone">The paths of the other linear layers.</param>
/// <param name="Unmatched">Entries of the options that matched nothing.</param>
internal sealed record InjectionPlan(IReadOnlyList<PlannedSite> Sites, IReadOnlyList<string> LeftAlone, IReadOnlyList<string> Unmatched)
{
    /// <summary>Makes the plan without touching the model.</summary>
    /// <exception cref="ArgumentException">A target matches nothing, or something that is no linear layer.</exception>
    /// <exception cref="InvalidOperationException">The model is adapted already.</exception>
    public static InjectionPlan Make(nn.Module model, LoraOptions options, InjectionOptions injection)
    {
        if (model is Linear)
        {
            throw new ArgumentException($"The model is itself a linear layer, which nothing holds: wrap it by {nameof(LoraLinear)}.From or {nameof(DoraLinear)}.From.", nameof(model));
        }

        if (model is AdaptedLinear or AdapterStack || model.modules().Any(m => m is AdapterStack))
        {
            throw new InvalidOperationException(
                "The model is adapted already. Take its adapters out first: Unload or MergeAndUnload on its AdaptedModel, or Unload on a LoraLinear or DoraLinear that was put in by hand.");
        }

        ModuleTree tree = ModuleTree.Of(model);
        TargetMatch match = TargetMatcher.Match(Describe(model, tree, injection), options, injection.AllowUnmatchedTargets, injection.AdapterName);
        Dictionary<string, ModuleNode> nodes = tree.Nodes.ToDictionary(node => node.Path, StringComparer.Ordinal);
        RefuseUnsupported(match);
        Dictionary<nn.Module, List<ModuleSlot>> slots = SlotFinder.Find(model, tree, match.Sites.Select(site => nodes[site.Path].Module));
        PlannedSite[] sites = [.. match.Sites.Select(site => new PlannedSite(nodes[site.Path], (Linear)nodes[site.Path].Module, site.Options, slots[nodes[site.Path].Module]))];
        string[] leftAlone = [.. tree.Nodes.Where(node => node.Module is Linear).Select(node => node.Path).Except(sites.Select(site => site.Node.Path), StringComparer.Ordinal)];
        return new(sites, leftAlone, [.. match.Unmatched.Select(entry => entry.ToString())]);
    }

    private static ModelDescription Describe(nn.Module model, ModuleTree tree, InjectionOptions injection) =>
        new(Describe("", model, []), [.. tree.Nodes.Select(node => Describe(node.Path, node.Module, node.Aliases))]) { ModelType = injection.ModelType };

    private static ModuleDescription Describe(string path, nn.Module module, IReadOnlyList<string> aliases) =>
        new(path, module.GetType().Name, module is Linear ? LayerKind.Linear : LayerKind.None)
        {
            In = module is Linear { in_features: long input } ? input : 0,
            Out = module is Linear { out_features: long output } ? output : 0,
            Parameters = [.. module.named_parameters(recurse: false).Select(parameter => new ParameterDescription(parameter.name, parameter.parameter.shape))],
            Aliases = aliases,
        };

    private static void RefuseUnsupported(TargetMatch match)
    {
        string? refused = match switch
        {
            { ModulesToSave: [string path, ..] } => $"{nameof(LoraOptions.ModulesToSave)} ({path})",
            { TrainableTokens: [TokenSite tokens, ..] } => $"{nameof(LoraOptions.TrainableTokens)} ({tokens.Path})",
            { TrainedBiases: [string bias, ..] } => $"{nameof(LoraOptions.Bias)} ({bias})",
            _ when match.Sites.FirstOrDefault(site => site.Kind != LayerKind.Linear) is { } site => $"{site.FullName}, {site.Kind}",
            _ => null,
        };
        if (refused is not null)
        {
            throw new NotSupportedException($"Only linear layers can be injected: {refused}.");
        }
    }
}
