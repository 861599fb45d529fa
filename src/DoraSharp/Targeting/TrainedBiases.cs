namespace DoraSharp;

/// <summary>The biases of the base that train with an adapter.</summary>
internal static class TrainedBiases
{
    private const string Bias = "bias";

    /// <summary>Their full names and parameters; what is saved whole is not among them.</summary>
    public static IEnumerable<(string FullName, ParameterDescription Parameter)> Find(
        ModelDescription model, LoraOptions options, IReadOnlyList<TargetSite> sites, IReadOnlyList<string> saved)
    {
        HashSet<string> adapted = [.. sites.Select(static site => site.Path)];
        IEnumerable<ModuleDescription> modules = options.Bias switch
        {
            BiasTraining.All => model.Modules.Prepend(model.Root),
            BiasTraining.LoraOnly => model.Modules.Where(module => adapted.Contains(module.Path)),
            _ => [],
        };
        return model.ParametersOf(modules.Where(module => !saved.Any(path => module.Path == path || module.Path.StartsWith(path + ".", StringComparison.Ordinal))))
            .Where(static found => found.Parameter.Name == Bias);
    }
}
