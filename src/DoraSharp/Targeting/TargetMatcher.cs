namespace DoraSharp;

/// <summary>
/// PEFT's matching rules as a pure function from a module tree and options to sites. A list's entry equals the path
/// or is what follows one of its dots; a pattern matches the whole path; exclusions come first; the first rank or
/// alpha pattern that matches decides.
/// </summary>
internal static class TargetMatcher
{
    /// <summary>Names that a language model's output head commonly has; all-linear leaves these out, as PEFT does the output embedding.</summary>
    private static readonly string[] OutputHeads = ["lm_head", "embed_out"];

    /// <summary>Matches, or throws with near misses where an entry of the targets matches nothing.</summary>
    /// <param name="modules">The model's modules in order.</param>
    /// <param name="options">The options.</param>
    /// <param name="allowUnmatched">Accept entries that match nothing as long as another matches.</param>
    /// <exception cref="ArgumentException">Nothing matches, an entry matches nothing, or a match is no layer that can be adapted.</exception>
    public static TargetMatch Match(IReadOnlyList<TargetCandidate> modules, LoraOptions options, bool allowUnmatched)
    {
        Func<string, bool> targets = Selector(options.TargetModules);
        Func<string, bool> excludes = options.ExcludeModules is { } excluded ? Selector(excluded) : static _ => false;
        KeyPattern<int>[] ranks = [.. options.RankPattern.Select(p => new KeyPattern<int>(p.Key, p.Value))];
        KeyPattern<double>[] alphas = [.. options.AlphaPattern.Select(p => new KeyPattern<double>(p.Key, p.Value))];

        List<KeyValuePair<string, LoraOptions>> sites = [];
        foreach (TargetCandidate module in modules)
        {
            if (excludes(module.Path) || !(options.TargetModules.IsAllLinear ? IsHiddenLinear(module) : targets(module.Path)))
            {
                continue;
            }

            if (!module.IsLinear)
            {
                throw new ArgumentException(
                    $"TargetModules {options.TargetModules} matches {module.Path}, a {module.TypeName}; only linear layers can be adapted. " +
                    "Name the linear layers inside it, or leave it out with ExcludeModules.");
            }

            LoraOptions resolved = options with
            {
                Rank = First(ranks, module.Path, options.Rank),
                Alpha = First(alphas, module.Path, options.Alpha),
                RankPattern = [],
                AlphaPattern = [],
            };
            sites.Add(new(module.Path, resolved));
        }

        List<string> missed = [.. options.TargetModules.Names.Where(name => !modules.Any(m => IsNamed(m.Path, name)))];
        if (sites.Count == 0 || (missed.Count > 0 && !allowUnmatched))
        {
            throw NoMatch(modules, options, missed, sites.Count);
        }

        return new(sites, [
            .. missed.Select(name => $"TargetModules: '{name}'"),
            .. UnmatchedExclusions(modules, options.ExcludeModules),
            .. ranks.Where(p => !p.Matched).Select(p => $"RankPattern: '{p.Key}'"),
            .. alphas.Where(p => !p.Matched).Select(p => $"AlphaPattern: '{p.Key}'"),
        ]);
    }

    /// <summary>Whether an entry of a list names a path: it equals the path, or a dot and the entry end it.</summary>
    internal static bool IsNamed(string path, string entry) =>
        path.EndsWith(entry, StringComparison.Ordinal) && (path.Length == entry.Length || path[^(entry.Length + 1)] == '.');

    private static Func<string, bool> Selector(TargetModules modules)
    {
        if (modules.Pattern is null)
        {
            return path => modules.Names.Any(name => IsNamed(path, name));
        }

        ModulePattern regex = ModulePattern.FullMatch(modules.Pattern);
        return regex.IsMatch;
    }

    private static bool IsHiddenLinear(TargetCandidate module) =>
        module.IsLinear && !OutputHeads.Any(head => IsNamed(module.Path, head));

    private static T First<T>(KeyPattern<T>[] patterns, string path, T fallback)
    {
        KeyPattern<T>? pattern = Array.Find(patterns, p => p.MatchesAsRegex(path)) ?? Array.Find(patterns, p => p.Key == path);
        if (pattern is null)
        {
            return fallback;
        }

        pattern.Matched = true;
        return pattern.Value;
    }

    private static IEnumerable<string> UnmatchedExclusions(IReadOnlyList<TargetCandidate> modules, TargetModules? excluded)
    {
        if (excluded is null)
        {
            return [];
        }

        if (excluded.Pattern is { } pattern)
        {
            ModulePattern regex = ModulePattern.FullMatch(pattern);
            return modules.Any(m => regex.IsMatch(m.Path)) ? [] : [$"ExcludeModules: '{pattern}'"];
        }

        return excluded.Names.Where(name => !modules.Any(m => IsNamed(m.Path, name))).Select(name => $"ExcludeModules: '{name}'");
    }

    private static ArgumentException NoMatch(IReadOnlyList<TargetCandidate> modules, LoraOptions options, List<string> missed, int matched)
    {
        string[] linears = [.. modules.Where(m => m.IsLinear).Select(m => m.Path)];
        string what = options.TargetModules.Pattern is { } pattern
            ? $"TargetModules '{pattern}' matches no module"
            : missed.Count > 0
                ? $"TargetModules {string.Join(", ", missed.Select(m => $"'{m}'"))} matches no module"
                : $"TargetModules {options.TargetModules} leaves no module";
        if (options.ExcludeModules is { } excluded && missed.Count == 0)
        {
            what += $" that ExcludeModules {excluded} does not exclude";
        }

        string near = linears.Length == 0
            ? " The model has no registered linear layer: is a module assigned to its field after RegisterComponents() ran, or was RegisterComponents() never called?"
            : $" Near misses: {string.Join(", ", NearMisses.Of(missed.Count > 0 ? missed : [options.TargetModules.ToString()], linears))}.";
        string other = matched > 0 ? " Other entries match; set InjectionOptions.AllowUnmatchedTargets to accept that." : "";
        return new ArgumentException($"{what}.{near}{other}");
    }

    private sealed class KeyPattern<T>(string key, T value)
    {
        private readonly ModulePattern regex = ModulePattern.Key(key);

        public string Key => key;

        public T Value => value;

        public bool Matched { get; set; }

        public bool MatchesAsRegex(string path) => regex.IsMatch(path);
    }
}
