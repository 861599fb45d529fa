namespace DoraSharp;

/// <summary>Decides which modules options mean: exclusions first, then what is saved whole, then the targets.</summary>
internal sealed class ModuleSelector
{
    private readonly ModulePattern[] saved;
    private readonly Func<string, bool> isExcluded;
    private readonly Func<string, bool> isTarget;

    /// <summary>Prepares the decision.</summary>
    /// <param name="options">The options.</param>
    /// <param name="exactPaths">The paths that all-linear stands for; <see langword="null"/> where the targets decide.</param>
    /// <exception cref="TargetingException">A pattern is no regular expression.</exception>
    public ModuleSelector(LoraOptions options, IReadOnlySet<string>? exactPaths)
    {
        isExcluded = options.ExcludeModules is { } excluded ? Means(excluded, null) : static _ => false;
        saved = [.. options.ModulesToSave.Select(ModulePattern.Saved)];
        isTarget = exactPaths is null ? Means(options.TargetModules, LayerFilter.Of(options)) : exactPaths.Contains;
    }

    /// <summary>What the options say of a module.</summary>
    /// <exception cref="TargetingException">A pattern takes too many steps.</exception>
    public Selection Select(string path) =>
        isExcluded(path) || Array.Exists(saved, entry => entry.MatchesStart(path))
            ? Selection.Excluded
            : isTarget(path) ? Selection.Matched : Selection.Unmatched;

    // A name that is the whole path is never filtered by layer.
    private static Func<string, bool> Means(TargetModules modules, LayerFilter? layers)
    {
        if (modules.Pattern is { } pattern)
        {
            return ModulePattern.Whole(pattern).MatchesAll;
        }

        HashSet<string> names = new(modules.Names, StringComparer.Ordinal);
        return path => names.Contains(path) || (ModuleNames.Suffixes(path).Any(names.Contains) && layers?.Keeps(path) != false);
    }
}
