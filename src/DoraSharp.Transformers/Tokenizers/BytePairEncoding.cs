using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;

namespace DoraSharp.Transformers;

/// <summary>The BPE model of a <c>tokenizer.json</c>: characters, merged pair by pair in the order of the merge list (arXiv 1508.07909).</summary>
internal sealed class BytePairEncoding
{
    private readonly Dictionary<string, int> vocabulary;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup;
    private readonly Dictionary<(int Left, int Right), (int Rank, int Merged)> merges;
    private readonly int?[]? bytes;
    private readonly int? unknown;
    private readonly bool fusesUnknown;
    private readonly bool ignoresMerges;

    private BytePairEncoding(JsonFields model)
    {
        vocabulary = ReadVocabulary(model);
        lookup = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        merges = ReadMerges(model, vocabulary);
        ignoresMerges = model.Flag("ignore_merges", otherwise: false);
        fusesUnknown = model.Flag("fuse_unk", otherwise: false);
        bytes = model.Flag("byte_fallback", otherwise: false)
            ? [.. Enumerable.Range(0, 256).Select(value => vocabulary.TryGetValue($"<0x{value:X2}>", out int id) ? id : (int?)null)]
            : null;
        if (model.OptionalText("unk_token") is { } token)
        {
            unknown = vocabulary.TryGetValue(token, out int id) ? id : throw new InvalidDataException($"{model.Source}: the unk_token '{token}' is not in the vocabulary.");
        }
    }

    /// <summary>The ids of all tokens.</summary>
    public IReadOnlyDictionary<string, int> Vocabulary => vocabulary;

    /// <summary>Reads a model; refuses anything but BPE, and parts of it that are not supported, by name.</summary>
    public static BytePairEncoding Read(JsonFields model)
    {
        // Files from before tokenizers 0.9 do not say the type.
        string type = model.OptionalText("type") ?? (model.Has("merges") ? "BPE" : "unknown");
        if (type != "BPE")
        {
            throw new NotSupportedException($"{model.Source}: the tokenizer model '{type}' is not supported; supported is BPE.");
        }

        foreach (string affix in (string[])["continuing_subword_prefix", "end_of_word_suffix"])
        {
            if (!string.IsNullOrEmpty(model.OptionalText(affix)))
            {
                throw new NotSupportedException($"{model.Source}: {affix} '{model.Text(affix)}' is not supported.");
            }
        }

        return model.OptionalNumber("dropout") is null or 0
            ? new BytePairEncoding(model)
            : throw new NotSupportedException($"{model.Source}: BPE dropout is not supported.");
    }

    /// <summary>Adds the ids of a piece.</summary>
    public void Encode(string piece, List<long> ids)
    {
        if (ignoresMerges && vocabulary.TryGetValue(piece, out int whole))
        {
            ids.Add(whole);
            return;
        }

        List<int> symbols = Symbols(piece);
        Merge(CollectionsMarshal.AsSpan(symbols), ids);
    }

    /// <summary>The ids before any merge: one for each character that has one, else one for each of its bytes, else the unknown token.</summary>
    private List<int> Symbols(string piece)
    {
        var symbols = new List<int>(piece.Length);
        bool afterUnknown = false;
        for (int start = 0, length; start < piece.Length; start += length)
        {
            length = char.IsHighSurrogate(piece[start]) && start + 1 < piece.Length && char.IsLowSurrogate(piece[start + 1]) ? 2 : 1;
            ReadOnlySpan<char> character = piece.AsSpan(start, length);
            bool isKnown = true;
            if (lookup.TryGetValue(character, out int id))
            {
                symbols.Add(id);
            }
            else if (!TryAddBytes(character, symbols))
            {
                isKnown = false;
                if (!(afterUnknown && fusesUnknown))
                {
                    symbols.Add(unknown ?? throw new InvalidDataException($"The tokenizer has no token for '{character}', and none for unknown characters."));
                }
            }

            afterUnknown = !isKnown;
        }

        return symbols;
    }

    private bool TryAddBytes(ReadOnlySpan<char> character, List<int> symbols)
    {
        if (bytes is null)
        {
            return false;
        }

        Span<byte> utf8 = stackalloc byte[4];
        utf8 = utf8[..Encoding.UTF8.GetBytes(character, utf8)];
        foreach (byte value in utf8)
        {
            if (bytes[value] is null)
            {
                return false;
            }
        }

        foreach (byte value in utf8)
        {
            symbols.Add(bytes[value]!.Value);
        }

        return true;
    }

    /// <summary>Merges neighbours, the earliest merge of the list first and the leftmost of equals, until none is left.</summary>
    private void Merge(Span<int> symbols, List<long> ids)
    {
        const int gone = -1;
        var next = new int[symbols.Length];
        var previous = new int[symbols.Length];
        var candidates = new PriorityQueue<(int Position, int Merged), (int Rank, int Position)>();
        for (int i = 0; i < symbols.Length; i++)
        {
            (previous[i], next[i]) = (i - 1, i + 1);
            Propose(symbols, i, i + 1, candidates);
        }

        while (candidates.TryDequeue(out (int Position, int Merged) candidate, out _))
        {
            int left = candidate.Position, right = next[left];
            if (symbols[left] == gone || right == symbols.Length
                || !merges.TryGetValue((symbols[left], symbols[right]), out (int Rank, int Merged) merge) || merge.Merged != candidate.Merged)
            {
                continue;
            }

            symbols[left] = merge.Merged;
            symbols[right] = gone;
            next[left] = next[right];
            if (next[left] < symbols.Length)
            {
                previous[next[left]] = left;
            }

            Propose(symbols, previous[left], left, candidates);
            Propose(symbols, left, next[left], candidates);
        }

        foreach (int symbol in symbols)
        {
            if (symbol != gone)
            {
                ids.Add(symbol);
            }
        }
    }

    private void Propose(ReadOnlySpan<int> symbols, int left, int right, PriorityQueue<(int Position, int Merged), (int Rank, int Position)> candidates)
    {
        if (left >= 0 && right < symbols.Length && merges.TryGetValue((symbols[left], symbols[right]), out (int Rank, int Merged) merge))
        {
            candidates.Enqueue((left, merge.Merged), (merge.Rank, left));
        }
    }

    private static Dictionary<string, int> ReadVocabulary(JsonFields model)
    {
        var vocabulary = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach ((string token, int id) in model.Object("vocab").Counts)
        {
            vocabulary[token] = id;
        }

        return vocabulary;
    }

    private static Dictionary<(int Left, int Right), (int Rank, int Merged)> ReadMerges(JsonFields model, Dictionary<string, int> vocabulary)
    {
        var merges = new Dictionary<(int Left, int Right), (int Rank, int Merged)>();
        foreach ((int rank, JsonElement entry) in model.Array("merges").Index())
        {
            string[] pair = entry.ValueKind switch
            {
                JsonValueKind.String => entry.GetString()!.Split(' '),
                JsonValueKind.Array => [.. entry.EnumerateArray().Select(part => part.ValueKind == JsonValueKind.String ? part.GetString()! : "")],
                _ => [],
            };
            if (pair.Length != 2 || !vocabulary.TryGetValue(pair[0], out int left) || !vocabulary.TryGetValue(pair[1], out int right)
                || !vocabulary.TryGetValue(pair[0] + pair[1], out int merged))
            {
                throw new InvalidDataException($"{model.Source}: the merge {JsonFields.Shown(entry)} must be two tokens of the vocabulary whose concatenation is one too.");
            }

            merges[(left, right)] = (rank, merged);
        }

        return merges;
    }
}
