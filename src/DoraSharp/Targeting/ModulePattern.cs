using System.Text.RegularExpressions;

namespace DoraSharp;

/// <summary>Compiles the patterns that users and adapter files give, with a time limit: a file is not trusted to hold a tame one.</summary>
internal static class ModulePattern
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(1);

    /// <summary>A pattern that must match a whole path.</summary>
    public static Regex FullMatch(string pattern) => Compile(pattern, $@"\A(?:{pattern})\z");

    /// <summary>A key of a rank or alpha pattern: PEFT's <c>(.*\.)?(key)$</c>, matched from the path's start.</summary>
    public static Regex Key(string key) => Compile(key, $@"\A(?:.*\.)?(?:{key})\z");

    private static Regex Compile(string pattern, string anchored)
    {
        try
        {
            return new Regex(anchored, RegexOptions.CultureInvariant, Limit);
        }
        catch (ArgumentException e)
        {
            throw new ArgumentException($"'{pattern}' is no valid regular expression: {e.Message} A list of names needs brackets: [\"{pattern}\"].", nameof(pattern), e);
        }
    }
}
