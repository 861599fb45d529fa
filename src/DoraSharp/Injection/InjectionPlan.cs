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
        if (LayerKinds.Of(model) != LayerKind.None)
        {
            throw new ArgumentException($"The model is itself a layer, which nothing holds: wrap it by {nameof(AdaptedLayer)}.{nameof(AdaptedLayer.From)}, {nameof(LoraLinear)}.From or {nameof(DoraLinear)}.From.", nameof(model));
        }

        ModuleTree tree = ModuleTree.Of(model);
        TargetCandidate[] candidates = [.. tree.Nodes.Select(node => new TargetCandidate(node.Path, node.Module.GetType().Name, LayerKinds.Of(node.Module) is not LayerKind.None and not LayerKind.MultiheadAttention))];
        TargetMatch match = TargetMatcher.Match(candidates, options, injection.AllowUnmatchedTargets);
        Dictionary<string, ModuleNode> nodes = tree.Nodes.ToDictionary(node => node.Path, StringComparer.Ordinal);
        Dictionary<nn.Module, List<ModuleSlot>> slots = SlotFinder.Find(model, tree, match.Sites.Select(site => nodes[site.Key].Module));
        PlannedSite[] sites = [.. match.Sites.Select(site => new PlannedSite(nodes[site.Key], null, site.Key, site.Value, slots[nodes[site.Key].Module]))];
        string[] leftAlone = [.. candidates.Where(module => module.IsLinear).Select(module => module.Path).Except(sites.Select(site => site.Node.Path), StringComparer.Ordinal)];
        return new(sites, leftAlone, match.Unmatched);
    }

    /// <summary>Throws if the model has adapters already.</summary>
    /// <exception cref="InvalidOperationException">It has.</exception>
    public static void RefuseAdapted(nn.Module model)
    {
        if (model is AdaptedLayer or AdapterStack || model.modules().Any(m => m is AdapterStack))
        {
            throw new InvalidOperationException(
                "The model is adapted already. Add further adapters by its AdaptedModel, or take its adapters out first: Unload or MergeAndUnload on its " +
                "AdaptedModel, or Unload on a LoraLinear or DoraLinear that was put in by hand.");
        }
    }
}
