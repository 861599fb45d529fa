namespace DoraSharp;

/// <summary>Finds the entries of options that mean nothing in a model, of which PEFT says nothing while another one does.</summary>
internal sealed class UnmatchedEntries
{
    private readonly ModelDescription model;
    private readonly LoraOptions options;
    private readonly PreparedTargets targets;
    private readonly string[] paths;

    /// <summary>Prepares the search.</summary>
    /// <param name="model">The model.</param>
    /// <param name="options">The options as the user gave them.</param>
    /// <param name="targets">The options made ready.</param>
    public UnmatchedEntries(ModelDescription model, LoraOptions options, PreparedTargets targets)
    {
        this.model = model;
        this.options = options;
        this.targets = targets;
        paths = [.. model.Modules.Select(static module => module.Path)];
    }

    /// <summary>Entries without which the user would adapt, save or train less than was asked for.</summary>
    public IEnumerable<UnmatchedEntry> Refusable(TargetMatch match) =>
        match.Unmatched.Where(entry => entry.Field switch
        {
            nameof(LoraOptions.TargetModules) => !targets.RewrittenNames.Contains(entry.Entry),
            nameof(LoraOptions.ModulesToSave) => options.ModulesToSave.Contains(entry.Entry),
            nameof(LoraOptions.TargetParameters) or nameof(LoraOptions.TrainableTokens) => true,
            _ => false,
        });

    /// <summary>All of them, by field.</summary>
    public IReadOnlyList<UnmatchedEntry> Find(IReadOnlyList<TargetSite> sites, IReadOnlyList<string> saved, SitePlanner planner) =>
    [
        .. Modules(nameof(LoraOptions.TargetModules), options.TargetModules),
        .. Modules(nameof(LoraOptions.ExcludeModules), options.ExcludeModules),
        .. planner.UnmatchedPatterns(sites),
        .. Saved(saved),
        .. Where(nameof(LoraOptions.TargetParameters), options.TargetParameters, name => !IsParameter(name)),
        .. Layers(),
        .. Where(
            nameof(LoraOptions.TrainableTokens),
            options.TrainableTokens.Select(tokens => TrainableTokenMatcher.NameOf(model, tokens)),
            name => !Array.Exists(paths, path => path.EndsWith(name, StringComparison.Ordinal))),
    ];

    private static IEnumerable<UnmatchedEntry> Where(string field, IEnumerable<string> entries, Func<string, bool> isUnmatched) =>
        entries.Where(isUnmatched).Select(entry => new UnmatchedEntry(field, entry));

    private IEnumerable<UnmatchedEntry> Modules(string field, TargetModules? modules)
    {
        if (modules?.Pattern is { } pattern)
        {
            // A pattern of old names of experts matches no module, but means parameters.
            bool isRewritten = field == nameof(LoraOptions.TargetModules) && targets.RewrittenNames.Count > 0;
            return modules.IsAllLinear || isRewritten || Array.Exists(paths, ModulePattern.Whole(pattern).MatchesAll) ? [] : [new(field, pattern)];
        }

        HashSet<string> meant = [.. paths.SelectMany(ModuleNames.Suffixes)];
        return Where(field, modules?.Names ?? [], name => !meant.Contains(name));
    }

    // A task's heads are candidates: where the user lists nothing, those that the model lacks are no one's mistake.
    private IEnumerable<UnmatchedEntry> Saved(IReadOnlyList<string> saved) =>
        Where(
            nameof(LoraOptions.ModulesToSave),
            options.ModulesToSave.Count == 0 ? [] : options.ModulesToSave.Union(TaskHeads.SavedBy(options.TaskType)),
            entry => !saved.Any(path => path.EndsWith(entry, StringComparison.Ordinal)));

    private bool IsParameter(string name) =>
        model.Modules.Prepend(model.Root).Any(module => module.Parameters.Any(parameter => TargetParameterMatcher.Names(name, module, parameter)));

    private IEnumerable<UnmatchedEntry> Layers()
    {
        if (LayerFilter.Of(options) is not { } filter)
        {
            return [];
        }

        HashSet<string> names = [.. options.TargetModules.Names];
        (int Index, string Pattern)[] found =
        [
            .. paths.Where(path => ModuleNames.Suffixes(path).Any(suffix => suffix.Length < path.Length && names.Contains(suffix)))
                .Select(filter.Find).OfType<(int, string)>(),
        ];
        return options.LayersToTransform.Where(index => !found.Any(layer => layer.Index == index))
            .Select(static index => new UnmatchedEntry(nameof(LoraOptions.LayersToTransform), index.ToString(System.Globalization.CultureInfo.InvariantCulture)))
            .Concat(Where(nameof(LoraOptions.LayersPattern), options.LayersPattern, pattern => !found.Any(layer => layer.Pattern == pattern)));
    }
}
