using DoraSharp.Transformers;

namespace DoraSharp.Samples.Pretrain;

public class BytePairTrainerTests
{
    private const string Special = "<|end|>";

    [Fact]
    public void Train_SmallCorpus_MergesTheMostFrequentPairsFirst()
    {
        // Counts: l-o and o-w 7 each, of which the lower pair is (l, o); then (lo, w); then e-r in "lower" (2) and w-i in "wide" (1).
        BytePairVocabulary vocabulary = BytePairTrainer.Train(["low low low low low lower lower wide"], 300, Special);

        vocabulary.Merges.Should().StartWith([("l", "o"), ("lo", "w"), ("Ġ", "low")]);
        vocabulary.Merges.Should().Contain(("e", "r")).And.NotContain(("w", "i"));
        vocabulary.Tokens.Should().HaveCount(256 + vocabulary.Merges.Count);
        vocabulary.Count.Should().BeLessThan(300, "no pair is left that occurs twice");
    }

    [Fact]
    public void Train_RepeatedLetters_CountsPairsThatOverlap()
    {
        BytePairVocabulary vocabulary = BytePairTrainer.Train(["aaaa aaaaa"], 260, Special);

        vocabulary.Merges.Should().StartWith([("a", "a"), ("aa", "aa")]);
    }

    [Fact]
    public void Train_SizeReached_Stops() =>
        BytePairTrainer.Train([string.Join(' ', Enumerable.Range(0, 500).Select(i => $"word{i % 50} and other{i % 20}"))], 270, Special)
            .Count.Should().Be(270);

    [Theory]
    [InlineData("The quick brown fox, the lazy dog; it's 1999!")]
    [InlineData("  indented\n\n\tand\u00a0odd   spaces \n")]
    [InlineData("naïve café — 東京 Ελλάδα 😀👩‍👩‍👧 \u0001\u007f")]
    [InlineData("")]
    public void Write_AnyText_IsEncodedByTheLearnedMergesAndDecodedAgain(string text)
    {
        using TemporaryFolder folder = new();
        BytePairVocabulary vocabulary = BytePairTrainer.Train(Corpus(), 400, Special);
        TokenizerFile.Write(vocabulary, Path.Combine(folder.Path, "tokenizer.json"));
        HuggingFaceTokenizer tokenizer = HuggingFaceTokenizer.Load(folder.Path);

        long[] ids = tokenizer.Encode(text, addSpecialTokens: true);

        ids.Should().Equal(Reference(vocabulary, text).Prepend(0));
        tokenizer.Decode(ids).Should().Be(text);
        tokenizer.VocabSize.Should().Be(vocabulary.Count);
    }

    [Fact]
    public void Write_SpecialTokenInText_IsOneToken()
    {
        using TemporaryFolder folder = new();
        TokenizerFile.Write(BytePairTrainer.Train(Corpus(), 300, Special), Path.Combine(folder.Path, "tokenizer.json"));

        HuggingFaceTokenizer.Load(folder.Path).Encode("one" + Special, addSpecialTokens: false).Should().EndWith([0L]).And.HaveCountGreaterThan(1);
    }

    private static IEnumerable<string> Corpus() =>
        Enumerable.Range(0, 300).Select(i => $"The {i % 7} quick brown foxes jumped over the lazy dogs' café, and it's a naïve story.\n");

    /// <summary>Byte pair encoding as it is defined: every merge in the order it was learned, over the whole word.</summary>
    private static IEnumerable<long> Reference(BytePairVocabulary vocabulary, string text)
    {
        Dictionary<string, long> ids = vocabulary.Special.Concat(vocabulary.Tokens).Select((token, id) => (token, id)).ToDictionary(e => e.token, e => (long)e.id);
        foreach (System.Text.RegularExpressions.Match word in System.Text.RegularExpressions.Regex.Matches(
            text, @"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"))
        {
            List<string> tokens = [.. ByteAlphabet.Encode(word.Value).Select(symbol => symbol.ToString())];
            foreach ((string left, string right) in vocabulary.Merges)
            {
                for (int i = 0; i + 1 < tokens.Count; i++)
                {
                    if (tokens[i] == left && tokens[i + 1] == right)
                    {
                        tokens[i] += right;
                        tokens.RemoveAt(i + 1);
                    }
                }
            }

            foreach (string token in tokens)
            {
                yield return ids[token];
            }
        }
    }
}
