namespace DoraSharp;

/// <summary>
/// A regular expression of Python's, matched as Python does: over code points, without a culture, and with a limit on the
/// steps that it may take, since a file is not trusted to hold a tame one.
/// </summary>
/// <remarks>
/// .NET's own expressions differ in what <c>\w</c>, <c>.</c>, <c>(?i)</c>, <c>{,n}</c> and <c>\Z</c> mean and in how groups
/// are numbered; and their limit is a time, which depends on how busy the machine is.
/// </remarks>
internal sealed class PythonPattern
{
    private const long Reserve = 10_000_000;
    private const long StepsPerText = 20_000;
    private readonly PatternNode root;
    private readonly int groupCount;
    private long steps = Reserve;

    private PythonPattern(PatternNode root, int groupCount)
    {
        this.root = root;
        this.groupCount = groupCount;
    }

    /// <summary>Reads a pattern.</summary>
    /// <exception cref="PatternSyntaxException">It is no regular expression.</exception>
    public static PythonPattern Parse(string pattern)
    {
        (PatternNode root, int groupCount) = PatternParser.Parse(pattern);
        return new PythonPattern(root, groupCount);
    }

    /// <summary>Whether the whole text matches. Python: <c>re.fullmatch</c>.</summary>
    /// <exception cref="PatternCostException">The limit is reached.</exception>
    public bool MatchesAll(string text) => Run(text, whole: true) is not null;

    /// <summary>Whether the text begins with a match. Python: <c>re.match</c>.</summary>
    /// <exception cref="PatternCostException">The limit is reached.</exception>
    public bool MatchesStart(string text) => Run(text, whole: false) is not null;

    /// <summary>The first group of a match at the text's start; <see langword="null"/> where nothing matches.</summary>
    /// <exception cref="PatternCostException">The limit is reached.</exception>
    public string? FirstGroup(string text) =>
        Run(text, whole: false) is { } run
            ? run.Groups[1] is { } place ? CodePoints.ToText(run.Text.AsSpan(place.Start, place.End - place.Start)) : ""
            : null;

    // Many texts may take what they need, one text or a few cannot take forever.
    private MatchRun? Run(string text, bool whole)
    {
        MatchRun run = new(CodePoints.Of(text), groupCount, Math.Min(steps, Reserve) + StepsPerText);
        try
        {
            return root.Match(run, 0, end => !whole || end == run.Text.Length) ? run : null;
        }
        catch (InsufficientExecutionStackException e)
        {
            throw new PatternCostException("it goes too deep", e);
        }
        finally
        {
            steps = Math.Max(run.StepsLeft, 0);
        }
    }
}
