using System.Text.Json;

namespace DoraSharp.Transformers;

/// <summary>
/// Text to token ids and back, as a Hugging Face <c>tokenizer.json</c> says: byte-level BPE (GPT-2, Llama 3) and SentencePiece-style
/// BPE with byte fallback (Llama 1 and 2). Parts of the format that are not supported are refused by name.
/// </summary>
/// <remarks>
/// Immutable and safe to share between threads. The ids are those of Hugging Face's <c>tokenizers</c> library; truncation and padding
/// that the file may ask for are left to the caller, as transformers does.
/// </remarks>
public sealed class HuggingFaceTokenizer
{
    private readonly BytePairEncoding model;
    private readonly Func<string, string> normalize;
    private readonly PreTokenizer preTokenize;
    private readonly TokenTemplate template;
    private readonly Func<IEnumerable<string>, IEnumerable<string>> decode;
    private readonly AddedTokenMatcher inText;
    private readonly AddedTokenMatcher inNormalizedText;
    private readonly Dictionary<long, string> tokensById;
    private readonly HashSet<long> specialIds;

    private HuggingFaceTokenizer(JsonFields file, IReadOnlyList<JsonFields> companions)
    {
        model = BytePairEncoding.Read(file.Object("model"));
        normalize = Normalizers.Read(file.OptionalObject("normalizer"));
        preTokenize = PreTokenizers.Read(file.OptionalObject("pre_tokenizer"));
        template = TokenTemplate.Read(file.OptionalObject("post_processor"));
        decode = Decoders.Read(file.OptionalObject("decoder"));

        AddedToken[] added = file.Has("added_tokens") ? [.. file.Objects("added_tokens").Select(AddedToken.Read)] : [];
        CheckIds(model, added, file.Source);
        // The library normalizes such a token's own text too: with a normalizer that prepends "▁" it is found only after a space.
        added = Array.ConvertAll(added, token => token.IsNormalized ? token with { Content = normalize(token.Content) } : token);
        inText = new AddedTokenMatcher(added.Where(token => !token.IsNormalized));
        inNormalizedText = new AddedTokenMatcher(added.Where(token => token.IsNormalized));
        specialIds = [.. added.Where(token => token.IsSpecial).Select(token => (long)token.Id)];
        tokensById = model.Vocabulary.ToDictionary(token => (long)token.Value, token => token.Key);
        foreach (AddedToken token in added)
        {
            tokensById[token.Id] = token.Content;
        }

        if (template.Before.Concat(template.After).Where(id => !tokensById.ContainsKey(id)).Cast<long?>().FirstOrDefault() is { } strange)
        {
            throw new InvalidDataException($"{file.Source}: the post_processor adds the token {strange}, which is not in the vocabulary.");
        }

        VocabSize = (int)tokensById.Keys.Max() + 1;
        BosTokenId = Named("bos_token", companions);
        EosTokenId = Named("eos_token", companions);
    }

    /// <summary>One more than the largest id, added tokens included.</summary>
    public int VocabSize { get; }

    /// <summary>The token that starts a text, by the <c>tokenizer_config.json</c> or <c>special_tokens_map.json</c> beside the file.</summary>
    /// <value><see langword="null"/> where they name none.</value>
    public long? BosTokenId { get; }

    /// <summary>The token that ends a text, by the <c>tokenizer_config.json</c> or <c>special_tokens_map.json</c> beside the file.</summary>
    /// <value><see langword="null"/> where they name none.</value>
    public long? EosTokenId { get; }

    /// <summary>Reads a tokenizer.</summary>
    /// <param name="path">The <c>tokenizer.json</c>, or the folder that holds it.</param>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="InvalidDataException">The file is damaged; the message names it and the place.</exception>
    /// <exception cref="NotSupportedException">It needs a tokenizer part that is not supported; the message names it.</exception>
    public static HuggingFaceTokenizer Load(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        string file = Directory.Exists(path) ? Path.Combine(path, "tokenizer.json") : path;
        if (!File.Exists(file))
        {
            throw new FileNotFoundException($"'{file}' does not exist; a tokenizer is read from a tokenizer.json.", file);
        }

        string folder = Path.GetDirectoryName(Path.GetFullPath(file))!;
        JsonFields[] companions =
        [
            .. from name in (string[])["tokenizer_config.json", "special_tokens_map.json"]
               let companion = Path.Combine(folder, name)
               where File.Exists(companion)
               select JsonFields.Load(companion),
        ];
        return new HuggingFaceTokenizer(JsonFields.Load(file), companions);
    }

    /// <summary>The ids of a text. Added tokens that are written in the text (<c>&lt;s&gt;</c>) are found there.</summary>
    /// <param name="text">The text.</param>
    /// <param name="addSpecialTokens">Whether to put the special tokens around it that the file asks for, mostly the one that starts a text.</param>
    /// <exception cref="InvalidDataException">The text holds a character for which the tokenizer has no token, not even one for unknown characters.</exception>
    public long[] Encode(string text, bool addSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(text);
        var ids = new List<long>();
        foreach ((AddedToken? token, string part, int start) in inText.Split(text))
        {
            if (token is not null)
            {
                ids.Add(token.Id);
                continue;
            }

            foreach ((AddedToken? inner, string normalized, int innerStart) in inNormalizedText.Split(normalize(part)))
            {
                if (inner is not null)
                {
                    ids.Add(inner.Id);
                    continue;
                }

                foreach (string piece in preTokenize(normalized, isStart: start == 0 && innerStart == 0))
                {
                    model.Encode(piece, ids);
                }
            }
        }

        return addSpecialTokens ? [.. template.Before, .. ids, .. template.After] : [.. ids];
    }

    /// <summary>The text of ids.</summary>
    /// <param name="ids">Token ids.</param>
    /// <param name="skipSpecialTokens">Whether special tokens are left out of the text.</param>
    /// <exception cref="ArgumentException">An id is not in the vocabulary.</exception>
    public string Decode(IReadOnlyList<long> ids, bool skipSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(ids);
        var tokens = new List<string>(ids.Count);
        foreach (long id in ids)
        {
            if (!tokensById.TryGetValue(id, out string? token))
            {
                throw new ArgumentException($"The tokenizer has no token {id}; its ids go from 0 to {VocabSize - 1}.", nameof(ids));
            }

            if (!skipSpecialTokens || !specialIds.Contains(id))
            {
                tokens.Add(token);
            }
        }

        return string.Concat(decode(tokens));
    }

    /// <summary>Checks that no two tokens share an id or a text.</summary>
    private static void CheckIds(BytePairEncoding model, AddedToken[] added, string source)
    {
        var texts = new Dictionary<int, string>();
        IEnumerable<KeyValuePair<string, int>> tokens = model.Vocabulary.Concat(added.Select(token => KeyValuePair.Create(token.Content, token.Id)));
        foreach ((string text, int id) in tokens)
        {
            if (!texts.TryAdd(id, text) && texts[id] != text)
            {
                throw new InvalidDataException($"{source}: the id {id} is given to '{texts[id]}' and to '{text}'.");
            }
        }

        if (added.CountBy(token => token.Content).FirstOrDefault(count => count.Value > 1).Key is { } twice)
        {
            throw new InvalidDataException($"{source}: the token '{twice}' is added twice.");
        }

        if (texts.Count == 0)
        {
            throw new InvalidDataException($"{source}: the vocabulary is empty.");
        }
    }

    /// <summary>The id of the token that the first of these files names in a field: a string, or an object with its content.</summary>
    private long? Named(string field, IReadOnlyList<JsonFields> files)
    {
        foreach (JsonFields file in files)
        {
            string? content = file.Find(field) is { ValueKind: JsonValueKind.Object }
                ? file.Object(field).OptionalText("content")
                : file.OptionalText(field);
            if (content is not null)
            {
                // Added tokens are kept normalized where the file says so; either spelling names them.
                string[] spellings = [content, normalize(content)];
                return tokensById.Where(token => spellings.Contains(token.Value)).Select(token => (long?)token.Key).FirstOrDefault()
                    ?? throw new InvalidDataException($"{file.Source}: the {field} '{content}' is not a token of the tokenizer.");
            }
        }

        return null;
    }
}
