using System.Runtime.InteropServices;

namespace DoraSharp.Samples.Pretrain;

/// <summary>How often each pair of neighbouring tokens occurs, kept up to date while pairs are merged.</summary>
internal sealed class PairStatistics
{
    private readonly Dictionary<TokenPair, long> counts = [];
    private readonly Dictionary<TokenPair, HashSet<Word>> occurrences = [];

    public PairStatistics(IEnumerable<Word> words)
    {
        foreach (Word word in words)
        {
            Add(word);
        }
    }

    /// <summary>The most frequent pair, the lowest of equals; null where no pair occurs twice.</summary>
    public TokenPair? MostFrequent()
    {
        KeyValuePair<TokenPair, long> best = new(default, 1);
        foreach (KeyValuePair<TokenPair, long> entry in counts)
        {
            if (entry.Value > best.Value || (entry.Value == best.Value && best.Value > 1 && entry.Key.Precedes(best.Key)))
            {
                best = entry;
            }
        }

        return best.Value > 1 ? best.Key : null;
    }

    /// <summary>Makes the pair one token in every word that has it.</summary>
    public void Merge(TokenPair pair, int merged)
    {
        foreach (Word word in occurrences[pair].ToList())
        {
            Remove(word);
            word.Merge(pair, merged);
            Add(word);
        }
    }

    private void Add(Word word)
    {
        foreach (TokenPair pair in word.Pairs)
        {
            CollectionsMarshal.GetValueRefOrAddDefault(counts, pair, out _) += word.Count;
            (CollectionsMarshal.GetValueRefOrAddDefault(occurrences, pair, out _) ??= []).Add(word);
        }
    }

    private void Remove(Word word)
    {
        foreach (TokenPair pair in word.Pairs)
        {
            long left = counts[pair] - word.Count;
            if (left == 0)
            {
                counts.Remove(pair);
                occurrences.Remove(pair);
            }
            else
            {
                counts[pair] = left;
                occurrences[pair].Remove(word);
            }
        }
    }
}
