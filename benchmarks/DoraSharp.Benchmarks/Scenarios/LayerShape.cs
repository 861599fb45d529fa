using System.Globalization;

namespace DoraSharp.Benchmarks;

/// <summary>A layer's size and its input: i → o, T tokens, rank r.</summary>
internal sealed record LayerShape(long In, long Out, long Tokens, int Rank)
{
    /// <summary>Reads "in,out,tokens,rank".</summary>
    public static bool TryParse(string text, out LayerShape shape)
    {
        string[] parts = text.Split(',');
        long[] sizes = [.. parts.Select(part => long.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out long size) ? size : 0)];
        bool valid = sizes.Length == 4 && sizes.All(size => size is > 0 and <= int.MaxValue);
        shape = valid ? new(sizes[0], sizes[1], sizes[2], (int)sizes[3]) : new(0, 0, 0, 0);
        return valid;
    }

    /// <exception cref="FormatException">The text is no shape.</exception>
    public static LayerShape Parse(string text) => TryParse(text, out LayerShape shape)
        ? shape
        : throw new FormatException($"'{text}' is no shape: give IN,OUT,TOKENS,RANK, four positive numbers.");

    /// <summary>The same text that <see cref="TryParse"/> reads.</summary>
    public override string ToString() => $"{In},{Out},{Tokens},{Rank}";
}
