namespace DoraSharp;

/// <summary>The biases of the base that train with an adapter.</summary>
internal static class TrainedBiases
{
    private const string Bias = "bias";

    /// <summary>Their full names and parameters, an attention's <c>in_proj_bias</c> included; what is saved whole is not among them.</summary>
    public static IEnumerable<(string FullName, ParameterDescription Parameter)> Find(
        ModelDescription model, LoraOptions options, IReadOnlyList<TargetSite> sites, IReadOnlyList<string> saved)
    {
        HashSet<string> adapted = [.. sites.Select(static site => site.Path)];
        IEnumerable<ModuleDescription> modules = options.Bias switch
        {
            BiasTraining.All => model.Modules.Prepend(model.Root),
            // As in PEFT, an adapted attention's own biases do not count as those of an adapted layer.
            BiasTraining.LoraOnly => model.Modules.Where(module => adapted.Contains(module.Path) && module.Kind != LayerKind.MultiheadAttention),
            _ => [],
        };
        return model.ParametersOf(modules.Where(module => !saved.Any(path => module.Path == path || module.Path.StartsWith(path + ".", StringComparison.Ordinal))))
            .Where(static found => found.Parameter.Name.Contains(Bias, StringComparison.Ordinal));
    }
}
