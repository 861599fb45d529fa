namespace DoraSharp;

/// <summary>Ranks or alphas by pattern: the first key that matches decides, or else one that is the path itself.</summary>
/// <typeparam name="T">The values' type.</typeparam>
internal sealed class PatternValues<T>
{
    private readonly T fallback;
    private readonly (string Text, ModulePattern Pattern, T Value)[] keys;

    /// <summary>Reads the patterns.</summary>
    /// <exception cref="TargetingException">One is no regular expression.</exception>
    public PatternValues(IReadOnlyList<KeyValuePair<string, T>> patterns, T fallback)
    {
        this.fallback = fallback;
        keys = [.. patterns.Select(static pattern => (pattern.Key, ModulePattern.Key(pattern.Key), pattern.Value))];
    }

    /// <summary>The value that holds at a path.</summary>
    public T At(string path)
    {
        foreach ((_, ModulePattern pattern, T value) in keys)
        {
            if (pattern.MatchesStart(path))
            {
                return value;
            }
        }

        int literal = Array.FindIndex(keys, key => key.Text == path);
        return literal < 0 ? fallback : keys[literal].Value;
    }

    /// <summary>The keys that match none of the paths.</summary>
    public IEnumerable<string> Unmatched(IReadOnlyList<string> paths) =>
        keys.Where(key => !paths.Any(path => key.Text == path || key.Pattern.MatchesStart(path))).Select(static key => key.Text);
}
