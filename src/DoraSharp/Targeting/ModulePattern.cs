using System.Text.RegularExpressions;

namespace DoraSharp;

/// <summary>A pattern that a user or an adapter file gives, with a time limit: a file is not trusted to hold a tame one.</summary>
internal sealed class ModulePattern
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(1);
    private readonly string pattern;
    private readonly Regex regex;

    private ModulePattern(string pattern, string anchored)
    {
        this.pattern = pattern;
        try
        {
            regex = new Regex(anchored, RegexOptions.CultureInvariant, Limit);
        }
        catch (ArgumentException e)
        {
            throw new ArgumentException($"'{pattern}' is no valid regular expression: {e.Message} A list of names needs brackets: [\"{pattern}\"].", nameof(pattern), e);
        }
    }

    /// <summary>A pattern that must match a whole path.</summary>
    public static ModulePattern FullMatch(string pattern) => new(pattern, $@"\A(?:{pattern})\z");

    /// <summary>A key of a rank or alpha pattern: PEFT's <c>(.*\.)?(key)$</c>, matched from the path's start.</summary>
    public static ModulePattern Key(string key) => new(key, $@"\A(?:.*\.)?(?:{key})\z");

    /// <summary>Whether the pattern matches a path.</summary>
    /// <exception cref="ArgumentException">The pattern takes too long.</exception>
    public bool IsMatch(string path)
    {
        try
        {
            return regex.IsMatch(path);
        }
        catch (RegexMatchTimeoutException e)
        {
            throw new ArgumentException($"The pattern '{pattern}' takes more than {Limit.TotalSeconds} s on the path {path}; write it without nested repetitions.", nameof(path), e);
        }
    }
}
