namespace DoraSharp;

/// <summary>Says why nothing is adapted, or which entries mean nothing, and what may have been meant.</summary>
internal static class NoMatchMessage
{
    /// <summary>Nothing is adapted at all.</summary>
    public static TargetingException Nothing(ModelDescription model, LoraOptions options, LoraOptions prepared, int excluded, int unmatched)
    {
        bool namesModules = prepared.TargetModules.Pattern is not null || prepared.TargetModules.Names.Count > 0;
        TargetingError reason = (excluded, unmatched) switch
        {
            ( > 0, 0) => TargetingError.AllExcluded,
            (0, > 0) when !namesModules => TargetingError.NothingRequested,
            (0, > 0) => TargetingError.NoMatch,
            _ => TargetingError.NoMatchAfterExclusion,
        };
        string what = options.TargetParameters.Count > 0
            ? $"TargetParameters [{string.Join(", ", options.TargetParameters)}] and TargetModules {options.TargetModules} match nothing"
            : reason == TargetingError.NothingRequested
                ? $"TargetModules {options.TargetModules} and TargetParameters name nothing"
                : $"TargetModules {Shown(options.TargetModules)} matches no module";
        if (options.ExcludeModules is { } exclusions)
        {
            what += $" that ExcludeModules {exclusions} does not exclude";
        }

        if (options.ModulesToSave.Count > 0)
        {
            what += $" and ModulesToSave [{string.Join(", ", options.ModulesToSave)}] does not save whole";
        }

        if (options.LayersToTransform.Count > 0)
        {
            what += $" in the layers {string.Join(", ", options.LayersToTransform)}";
        }

        IReadOnlyList<string> missed = options.TargetModules.Names.Count > 0 ? options.TargetModules.Names : [options.TargetModules.ToString()];
        return new TargetingException(reason, $"{what}.{Near(model, missed)}");
    }

    /// <summary>Some entries mean nothing, while others do.</summary>
    public static TargetingException Entries(ModelDescription model, IReadOnlyList<UnmatchedEntry> missed)
    {
        string what = string.Join("; ", missed.GroupBy(static entry => entry.Field).Select(static field => $"{field.Key} {string.Join(", ", field.Select(static entry => $"'{entry.Entry}'"))}"));
        IEnumerable<string> near = missed.Any(static entry => entry.Field == nameof(LoraOptions.TargetParameters))
            ? model.Modules.SelectMany(static module => module.Parameters, static (module, parameter) => module.FullName(parameter))
            : [];
        return new TargetingException(
            TargetingError.NoMatch,
            $"{what} matches no module.{Near(model, [.. missed.Select(static entry => entry.Entry)], near)} " +
            $"Other entries match; set {nameof(InjectionOptions)}.{nameof(InjectionOptions.AllowUnmatchedTargets)} to accept that.");
    }

    private static string Shown(TargetModules modules) =>
        modules.Names.Count > 0 ? string.Join(", ", modules.Names.Select(static name => $"'{name}'")) : modules.IsAllLinear ? modules.ToString() : $"'{modules}'";

    private static string Near(ModelDescription model, IReadOnlyList<string> missed, IEnumerable<string>? parameters = null)
    {
        string[] layers = [.. model.Modules.Where(static module => module.Kind != LayerKind.None).Select(static module => module.Path).Concat(parameters ?? [])];
        return layers.Length == 0
            ? " The model has no registered layer that can be adapted: is a module assigned to its field after RegisterComponents() ran, or was RegisterComponents() never called?"
            : $" Near misses: {string.Join(", ", NearMisses.Of(missed, layers))}.";
    }
}
