namespace DoraSharp;

/// <summary>What a misspelt target may have meant.</summary>
internal static class NearMisses
{
    private const int Count = 8;

    /// <summary>Names of layers, the likeliest first: paths with their indices folded, so that each kind of layer occurs once.</summary>
    public static IEnumerable<string> Of(IReadOnlyList<string> missed, IReadOnlyList<string> layers)
    {
        string[] names = [.. layers.Select(LastName).Distinct(StringComparer.Ordinal)];
        return names.OrderBy(name => missed.Min(m => Distance(LastName(m), name))).Take(Count);
    }

    /// <summary>The last part of a path that is a name rather than an index.</summary>
    private static string LastName(string path)
    {
        string[] parts = path.Split('.');
        int last = Array.FindLastIndex(parts, part => !part.All(char.IsAsciiDigit));
        return last < 0 ? path : string.Join('.', parts[last..]);
    }

    /// <summary>The Levenshtein distance, without regard to case.</summary>
    private static int Distance(string a, string b)
    {
        int[] row = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 1; i <= a.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                int substituted = diagonal + (char.ToLowerInvariant(a[i - 1]) == char.ToLowerInvariant(b[j - 1]) ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(substituted, Math.Min(row[j], row[j - 1]) + 1);
            }
        }

        return row[b.Length];
    }
}
