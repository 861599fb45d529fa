namespace DoraSharp;

/// <summary>A regular expression over module paths that a user or an adapter file gives, put together as PEFT does.</summary>
internal sealed class ModulePattern
{
    private readonly string pattern;
    private readonly PythonPattern regex;

    private ModulePattern(string pattern, string text)
    {
        this.pattern = pattern;
        try
        {
            regex = PythonPattern.Parse(text);
        }
        catch (PatternSyntaxException e)
        {
            throw new TargetingException(
                TargetingError.InvalidRegex,
                $"'{pattern}' is no valid regular expression of Python's: {e.Message}" + (text == pattern ? "" : $" of '{text}'") +
                $". A list of names needs brackets: [\"{pattern}\"].",
                e);
        }
    }

    /// <summary>A pattern that must match a whole path.</summary>
    /// <exception cref="TargetingException">It is no regular expression.</exception>
    public static ModulePattern Whole(string pattern) => new(pattern, pattern);

    /// <summary>A key of a rank or alpha pattern, which must reach the path's end.</summary>
    /// <inheritdoc cref="Whole"/>
    public static ModulePattern Key(string key) => new(key, $@"(.*\.)?({key})$");

    /// <summary>An entry of the modules to save, with everything inside them.</summary>
    /// <inheritdoc cref="Whole"/>
    public static ModulePattern Saved(string entry) => new(entry, $@"(^|.*\.){entry}($|\..*)");

    /// <summary>A name before a layer's index.</summary>
    /// <inheritdoc cref="Whole"/>
    public static ModulePattern Layer(string name) => new(name, $@"(?:^|.*?\.){name}\.(\d+)\.");

    /// <summary>Any name before a layer's index, but not at the path's start.</summary>
    public static ModulePattern AnyLayer() => new("", @".*?\.[^.]*\.(\d+)\.");

    /// <summary>Whether the pattern matches the whole path.</summary>
    /// <exception cref="TargetingException">The pattern takes too many steps.</exception>
    public bool MatchesAll(string path) => Tamely(path, regex.MatchesAll);

    /// <summary>Whether the path begins with a match.</summary>
    /// <inheritdoc cref="MatchesAll"/>
    public bool MatchesStart(string path) => Tamely(path, regex.MatchesStart);

    /// <summary>The first group of a match at the path's start; <see langword="null"/> where nothing matches.</summary>
    /// <inheritdoc cref="MatchesAll"/>
    public string? FirstGroup(string path) => Tamely(path, regex.FirstGroup);

    private T Tamely<T>(string path, Func<string, T> match)
    {
        try
        {
            return match(path);
        }
        catch (PatternCostException e)
        {
            throw new TargetingException(
                TargetingError.InvalidRegex, $"The pattern '{pattern}' cannot be matched against {path}: {e.Message}; write it without nested repetitions.", e);
        }
    }
}
