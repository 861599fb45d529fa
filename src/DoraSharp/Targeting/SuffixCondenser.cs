namespace DoraSharp;

/// <summary>PEFT shortens long lists of targets to the fewest ends of paths that mean the same modules, and saves the short list.</summary>
internal static class SuffixCondenser
{
    private const int LongList = 20;

    /// <summary>The list, condensed where it is long.</summary>
    public static IReadOnlyList<string> Condense(IReadOnlyList<string> targets, IEnumerable<string> paths)
    {
        HashSet<string> distinct = [.. targets.Where(static target => target.Length > 0)];
        if (distinct.Count < LongList)
        {
            return targets;
        }

        HashSet<string> others = [.. paths.Where(path => !ModuleNames.Suffixes(path).Any(distinct.Contains)).SelectMany(ModuleNames.Suffixes)];
        HashSet<string> condensed = [];
        foreach (string[] suffixes in distinct.Select(static target => ModuleNames.Suffixes(target).ToArray()).Order(Comparer<string[]>.Create(CompareItems)))
        {
            bool isCovered = suffixes[..^1].Any(condensed.Contains);
            if (!isCovered && Array.Find(suffixes, suffix => !condensed.Contains(suffix) && !others.Contains(suffix)) is { } shortest)
            {
                condensed.Add(shortest);
            }
        }

        return condensed.Count > 0 && condensed.Count < distinct.Count ? [.. condensed.Order(StringComparer.Ordinal)] : targets;
    }

    private static int CompareItems(string[] a, string[] b)
    {
        for (int i = 0; i < Math.Min(a.Length, b.Length); i++)
        {
            if (string.CompareOrdinal(a[i], b[i]) is not 0 and int order)
            {
                return order;
            }
        }

        return a.Length.CompareTo(b.Length);
    }
}
