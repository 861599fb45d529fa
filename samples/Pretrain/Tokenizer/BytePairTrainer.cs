using System.Runtime.InteropServices;
using System.Text.RegularExpressions;

namespace DoraSharp.Samples.Pretrain;

/// <summary>
/// Learns byte pair encoding (Sennrich et al. 2016, arXiv 1508.07909) on bytes (GPT-2): the most frequent pair of
/// neighbouring tokens becomes a token, again and again. Ties go to the pair with the lower ids, so that the result
/// depends on the text alone.
/// </summary>
public static partial class BytePairTrainer
{
    /// <summary>Learns a vocabulary of at most <paramref name="size"/> ids, fewer where no pair occurs twice.</summary>
    public static BytePairVocabulary Train(IEnumerable<string> texts, int size, params IReadOnlyList<string> special)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(size, 256 + special.Count);
        List<string> tokens = [.. ByteAlphabet.All.Select(symbol => symbol.ToString())];
        List<(string, string)> merges = [];
        PairStatistics pairs = new(CountWords(texts, tokens));
        while (tokens.Count + special.Count < size && pairs.MostFrequent() is { } best)
        {
            merges.Add((tokens[best.Left], tokens[best.Right]));
            tokens.Add(tokens[best.Left] + tokens[best.Right]);
            pairs.Merge(best, tokens.Count - 1);
        }

        return new BytePairVocabulary(special, tokens, merges);
    }

    private static List<Word> CountWords(IEnumerable<string> texts, List<string> tokens)
    {
        Dictionary<string, long> counts = new(StringComparer.Ordinal);
        foreach (string text in texts)
        {
            foreach (ValueMatch match in WordPattern().EnumerateMatches(text))
            {
                CollectionsMarshal.GetValueRefOrAddDefault(counts, text.Substring(match.Index, match.Length), out _)++;
            }
        }

        Dictionary<char, int> ids = Enumerable.Range(0, tokens.Count).ToDictionary(id => tokens[id][0]);
        return [.. counts.Select(entry => new Word([.. ByteAlphabet.Encode(entry.Key).Select(symbol => ids[symbol])], entry.Value))];
    }

    /// <summary>GPT-2's words: a letter, digit or punctuation run with the blank before it; the pattern of Hugging Face's ByteLevel.</summary>
    [GeneratedRegex(@"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")]
    private static partial Regex WordPattern();
}
