using DoraSharp.Transformers;
using static TorchSharp.torch;

namespace DoraSharp.Samples;

/// <summary>The tokens of some documents, one after the other, and the windows that a language model learns from.</summary>
public sealed class TokenStream
{
    private readonly long[] ids;

    /// <summary>A stream of these token ids.</summary>
    public TokenStream(long[] ids) => this.ids = ids;

    /// <summary>The number of tokens.</summary>
    public int Length => ids.Length;

    /// <summary>The highest id; -1 for an empty stream.</summary>
    public long Highest => ids.Append(-1).Max();

    /// <summary>Encodes the documents, each with the special tokens that the tokenizer puts around a text.</summary>
    public static TokenStream Encode(HuggingFaceTokenizer tokenizer, IEnumerable<Document> documents) =>
        new([.. documents.SelectMany(document => tokenizer.Encode(document.Text, addSpecialTokens: true))]);

    /// <summary>Windows from random places: ids of shape [count, length], int64.</summary>
    public Tensor RandomWindows(Random random, int count, int length)
    {
        RequireWindow(length);
        return Windows(Enumerable.Range(0, count).Select(_ => random.Next(ids.Length - length + 1)), count, length);
    }

    /// <summary>
    /// At most <paramref name="count"/> windows that don't overlap, spread evenly over the stream: ids of shape
    /// [windows, length], int64. The same stream gives the same windows.
    /// </summary>
    public Tensor SpreadWindows(int count, int length)
    {
        RequireWindow(length);
        int windows = Math.Min(count, ids.Length / length);
        return Windows(Enumerable.Range(0, windows).Select(i => (int)((long)i * (ids.Length - length) / Math.Max(1, windows - 1))), windows, length);
    }

    /// <summary>Refuses a stream that is shorter than a window; <paramref name="part"/> names it to the user.</summary>
    /// <exception cref="UserException">There are too few tokens.</exception>
    public void RequireWindow(int length, string part = "the text")
    {
        if (ids.Length < length)
        {
            throw new UserException($"{part} is too short: {ids.Length} tokens, but one window takes {length}");
        }
    }

    private Tensor Windows(IEnumerable<int> starts, int count, int length)
    {
        long[] batch = new long[(long)count * length];
        int row = 0;
        foreach (int start in starts)
        {
            Array.Copy(ids, start, batch, row++ * length, length);
        }

        return tensor(batch, count, length);
    }
}
