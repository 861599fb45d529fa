namespace DoraSharp;

/// <summary>
/// PEFT's matching rules as a pure function from a model's description and options to sites. A list's entry equals the path
/// or is what follows one of its dots; a pattern matches the whole path; exclusions come first; the first rank or alpha
/// pattern that matches decides.
/// </summary>
internal static class TargetMatcher
{
    /// <summary>Matches.</summary>
    /// <param name="model">What the model consists of.</param>
    /// <param name="options">The options.</param>
    /// <param name="allowUnmatched">Accept, and report, entries that mean nothing as long as another one does.</param>
    /// <param name="adapterName">The adapter's name.</param>
    /// <exception cref="TargetingException">The options do not fit the model; the message says where and what to do.</exception>
    public static TargetMatch Match(ModelDescription model, LoraOptions options, bool allowUnmatched, string adapterName = AdapterName.Default)
    {
        PreparedTargets targets = TargetPreparation.Prepare(model, options);
        SitePlanner planner = new(model, targets.Options);
        (List<TargetSite> sites, int excluded, int unmatched) = FindModules(model, targets, planner);
        sites.AddRange(TargetParameterMatcher.Find(model, targets.Options, [.. sites], planner));
        if (sites.Count == 0)
        {
            throw NoMatchMessage.Nothing(model, options, targets.Options, excluded, unmatched);
        }

        sites = InModelOrder(model, sites);
        IReadOnlyList<string> saved = SavedModules.Find(model, targets, adapterName, sites, planner.BeyondPeft);
        IReadOnlyList<TokenSite> tokens = TrainableTokenMatcher.Find(model, targets.Options, saved);
        (string FullName, ParameterDescription Parameter)[] biases = [.. TrainedBiases.Find(model, targets.Options, sites, saved)];
        UnmatchedEntries entries = new(model, options, targets);
        TargetMatch match = new()
        {
            Sites = sites,
            ModulesToSave = saved,
            TrainableTokens = tokens,
            TrainedBiases = [.. biases.Select(static bias => bias.FullName)],
            Unmatched = entries.Find(sites, saved, planner),
            BeyondPeft = planner.BeyondPeft,
            RewrittenOptions = targets.Options with { FanInFanOut = FanInFanOut(sites, options.FanInFanOut) },
            TrainableParameterCount =
                sites.Sum(static site => site.Tensors.Values.Sum(static shape => shape.Aggregate(1L, static (product, length) => product * length))) +
                saved.Except(targets.TiedSaves).Sum(path => model.ParametersOf(model.Under(path)).Sum(static found => found.Parameter.Count)) +
                tokens.Where(static site => site.TiedTo is null).Sum(static site => site.Indices.Count * site.Dimension) +
                biases.Sum(static bias => bias.Parameter.Count),
        };
        if (!allowUnmatched && entries.Refusable(match).ToArray() is { Length: > 0 } missed)
        {
            throw NoMatchMessage.Entries(model, missed);
        }

        return match;
    }

    private static (List<TargetSite> Sites, int Excluded, int Unmatched) FindModules(ModelDescription model, PreparedTargets targets, SitePlanner planner)
    {
        ModuleSelector selector = new(targets.Options, targets.ExactPaths);
        List<TargetSite> sites = [];
        HashSet<string> adapted = [];
        int excluded = 0;
        int unmatched = 0;
        foreach (ModuleDescription module in model.Modules)
        {
            if (targets.TiedTargets.Contains(module.Path))
            {
                continue;
            }

            switch (selector.Select(module.Path))
            {
                case Selection.Excluded:
                    excluded++;
                    break;
                case Selection.Unmatched:
                    unmatched++;
                    break;

                // The output projection of an adapted attention is adapted with it, once.
                case Selection.Matched when !adapted.Contains(module.Path):
                    IReadOnlyList<TargetSite> added = planner.OfModule(module);
                    sites.AddRange(added);
                    adapted.UnionWith(added.Select(static site => site.Path));
                    break;
            }
        }

        if (sites.Find(site => site.Path == model.InputEmbedding) is { } embedding)
        {
            sites.AddRange(targets.TiedTargets.Select(path => planner.Tied(path, embedding)));
        }

        return (sites, excluded, unmatched);
    }

    private static List<TargetSite> InModelOrder(ModelDescription model, List<TargetSite> sites)
    {
        Dictionary<string, int> order = model.Modules.Select(static (module, index) => (module.Path, index)).ToDictionary(StringComparer.Ordinal);

        // The projections of an attention that are no modules stand where the attention stands.
        return [.. sites.OrderBy(site => order.TryGetValue(site.Path, out int index) ? index : order[site.Path[..site.Path.LastIndexOf('.')]])];
    }

    // PEFT lets the last layer that has a layout decide what it saves.
    private static bool FanInFanOut(IEnumerable<TargetSite> sites, bool given) => sites.Aggregate(given, static (value, site) => site.Kind switch
    {
        LayerKind.TransposedLinear => true,
        LayerKind.Linear => false,
        _ => value,
    });
}
