using System.Globalization;

namespace DoraSharp.Benchmarks;

/// <summary>A layer's size and its input: i → o, T tokens, rank r.</summary>
internal sealed record LayerShape(long In, long Out, long Tokens, int Rank)
{
    /// <summary>Reads "in,out,tokens,rank".</summary>
    public static bool TryParse(string text, out LayerShape shape)
    {
        bool valid = TryParseNumbers(text, 4, out long[] numbers);
        shape = valid ? new(numbers[0], numbers[1], numbers[2], (int)numbers[3]) : new(0, 0, 0, 0);
        return valid;
    }

    /// <exception cref="FormatException">The text is no shape.</exception>
    public static LayerShape Parse(string text) => TryParse(text, out LayerShape shape)
        ? shape
        : throw new FormatException($"'{text}' is no shape: give IN,OUT,TOKENS,RANK, four positive numbers.");

    /// <summary>Reads "in,out".</summary>
    public static bool TryParseSize(string text, out (long In, long Out) size)
    {
        bool valid = TryParseNumbers(text, 2, out long[] numbers);
        size = valid ? (numbers[0], numbers[1]) : (0, 0);
        return valid;
    }

    /// <exception cref="FormatException">The text is no size.</exception>
    public static (long In, long Out) ParseSize(string text) => TryParseSize(text, out (long In, long Out) size)
        ? size
        : throw new FormatException($"'{text}' is no size: give IN,OUT, two positive numbers.");

    /// <summary>The same text that <see cref="TryParse"/> reads.</summary>
    public override string ToString() => $"{In},{Out},{Tokens},{Rank}";

    private static bool TryParseNumbers(string text, int count, out long[] numbers)
    {
        numbers = [.. text.Split(',').Select(part => long.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : 0)];
        return numbers.Length == count && numbers.All(number => number is > 0 and <= int.MaxValue);
    }
}
