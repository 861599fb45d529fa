namespace DoraSharp;

/// <summary>Fills in what options leave to the model, in PEFT's order: heads, experts, ties, defaults, all-linear, long lists.</summary>
internal static class TargetPreparation
{
    /// <summary>Makes options ready for a model.</summary>
    /// <exception cref="TargetingException">The options contradict each other, or the model has no default.</exception>
    public static PreparedTargets Prepare(ModelDescription model, LoraOptions options)
    {
        Check(options);
        PreparedTargets targets = new(options with { ModulesToSave = [.. options.ModulesToSave.Union(TaskHeads.SavedBy(options.TaskType))] });
        targets = ExpertRewriting.Apply(model, targets);
        targets = EmbeddingTies.Apply(model, targets);
        if (targets.Options.TargetModules.IsModelDefault && (options.TargetParameters.Count == 0 || DefaultTargets.Has(model.ModelType)))
        {
            targets = targets with { Options = targets.Options with { TargetModules = DefaultTargets.For(model.ModelType) } };
        }

        return Condensed(model, WithLinears(model, targets));
    }

    private static void Check(LoraOptions options)
    {
        if (options.TargetModules.Pattern is not null && (options.LayersToTransform.Count > 0 || options.LayersPattern.Count > 0))
        {
            throw new TargetingException(
                TargetingError.LayersWithString,
                $"{nameof(LoraOptions.LayersToTransform)} and {nameof(LoraOptions.LayersPattern)} need targets given as a list; TargetModules is '{options.TargetModules}'. Write the index into the pattern, or name the modules.");
        }

        if (options.LayersPattern.Count > 0 && options.LayersToTransform.Count == 0)
        {
            throw new TargetingException(
                TargetingError.LayersPatternAlone,
                $"{nameof(LoraOptions.LayersPattern)} [{string.Join(", ", options.LayersPattern)}] says where a layer's index stands; say which by {nameof(LoraOptions.LayersToTransform)}.");
        }

        if (options.UseDora && options.LoraBias)
        {
            throw new TargetingException(
                TargetingError.UnsupportedCombination, $"{nameof(LoraOptions.LoraBias)} is not defined for DoRA; set {nameof(LoraOptions.UseDora)} or {nameof(LoraOptions.LoraBias)}, not both.");
        }
    }

    private static PreparedTargets WithLinears(ModelDescription model, PreparedTargets targets)
    {
        if (!targets.Options.TargetModules.IsAllLinear)
        {
            return targets;
        }

        IReadOnlyList<string> paths = model.LinearPaths(targets.Options.TaskType);
        return targets with
        {
            ExactPaths = paths.ToHashSet(StringComparer.Ordinal),
            Options = targets.Options with { TargetModules = TargetModules.Create([.. paths]) },
        };
    }

    private static PreparedTargets Condensed(ModelDescription model, PreparedTargets targets)
    {
        TargetModules modules = targets.Options.TargetModules;
        IReadOnlyList<string> condensed = SuffixCondenser.Condense(modules.Names, model.Modules.Select(static module => module.Path));
        return ReferenceEquals(condensed, modules.Names)
            ? targets
            : targets with { Options = targets.Options with { TargetModules = TargetModules.Create([.. condensed]) } };
    }
}
