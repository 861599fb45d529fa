namespace DoraSharp;

/// <summary>Which linear layers of a model quantization means, by the rules that hold for adapters.</summary>
internal static class QuantizationTargets
{
    private const string Linear = "Linear";
    private const string Embedding = "Embedding";

    /// <summary>The paths of the layers.</summary>
    /// <exception cref="ArgumentException">An entry matches nothing, or something that is no dense <c>Linear</c> or <c>Embedding</c>.</exception>
    public static HashSet<string> Find(ModelDescription model, ModelQuantizationOptions options)
    {
        TargetModules targets = options.TargetModules;
        bool isAll = targets.IsAllLinear;
        ModuleSelector selector = new(
            new LoraOptions { TargetModules = targets, ExcludeModules = options.ExcludeModules }, isAll ? AllLinear(model) : null);
        ModuleDescription[] matched = [.. model.Modules.Where(module => selector.Select(module.Path) == Selection.Matched)];
        if (matched.FirstOrDefault(static module => module.TypeName is not (Linear or Embedding)) is { } other)
        {
            throw new ArgumentException(
                $"{nameof(ModelQuantizationOptions.TargetModules)} {targets} matches {other.Path}, a {other.TypeName}; only Linear and Embedding can be quantized. Leave it out by {nameof(ModelQuantizationOptions.ExcludeModules)}. Nothing was changed.");
        }

        HashSet<string> paths = [.. matched.Select(static module => module.Path)];
        string[] missed = [.. targets.Names.Where(name => !model.Modules.Any(module => ModuleNames.Names(name, module.Path)))];
        if (missed.Length > 0 || paths.Count == 0)
        {
            string[] layers = [.. model.Modules.Where(static module => module.TypeName is Linear or Embedding).Select(static module => module.Path)];
            string near = layers.Length == 0 ? "The model has no registered Linear." : $"Near misses: {string.Join(", ", NearMisses.Of(missed.Length > 0 ? missed : [targets.ToString()], layers))}.";
            throw new ArgumentException(
                $"{nameof(ModelQuantizationOptions.TargetModules)} {(missed.Length > 0 ? string.Join(", ", missed) : targets)} matches no layer{(options.ExcludeModules is { } excluded ? $" that {nameof(ModelQuantizationOptions.ExcludeModules)} {excluded} leaves" : "")}. {near} Nothing was changed.");
        }

        return paths;
    }

    /// <summary>Every dense linear layer but heads: one that shares its weight with something else would take memory instead of giving some back.</summary>
    private static HashSet<string> AllLinear(ModelDescription model)
    {
        HashSet<string> linears = [.. model.LinearPaths(taskType: null).Where(path => model.Find(path)!.TypeName == Linear)];
        IEnumerable<string> shared = model.TiedParameters
            .Where(group => group.Any(name => !linears.Contains(name[..Math.Max(name.LastIndexOf('.'), 0)])))
            .SelectMany(static group => group)
            .Select(static name => name[..Math.Max(name.LastIndexOf('.'), 0)]);
        linears.ExceptWith([.. shared]);
        return linears;
    }
}
