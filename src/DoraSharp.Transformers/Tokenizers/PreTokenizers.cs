namespace DoraSharp.Transformers;

/// <summary>The pre-tokenizers of a <c>tokenizer.json</c>.</summary>
internal static class PreTokenizers
{
    // Published with GPT-2 (its encoder.py): contractions, letters, digits, other signs, white space.
    private const string Gpt2Words = @"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    /// <summary>Reads a pre-tokenizer; refuses an unknown one by name.</summary>
    public static PreTokenizer Read(JsonFields? preTokenizer)
    {
        PreTokenizer whole = (text, _) => [text];
        if (preTokenizer is null)
        {
            return whole;
        }

        return preTokenizer.Text("type") switch
        {
            "Sequence" => preTokenizer.Objects("pretokenizers").Select(Read).Aggregate(whole, Chain),
            "ByteLevel" => ByteLevel(preTokenizer),
            "Split" => Split(preTokenizer),
            "Digits" => Digits(preTokenizer),
            "Metaspace" => Metaspace(preTokenizer),
            string other => throw new NotSupportedException(
                $"{preTokenizer.Source}: the pre-tokenizer '{other}' is not supported; supported are Sequence, ByteLevel, Split, Digits and Metaspace."),
        };
    }

    private static PreTokenizer Chain(PreTokenizer first, PreTokenizer second)
        => (text, isStart) => first(text, isStart).SelectMany((piece, index) => second(piece, isStart && index == 0));

    private static PreTokenizer ByteLevel(JsonFields fields)
    {
        bool prefixSpace = fields.Flag("add_prefix_space", otherwise: true);
        UnicodePattern? words = fields.Flag("use_regex", otherwise: true) ? UnicodePattern.Of(Gpt2Words) : null;
        return (text, _) =>
        {
            string spaced = prefixSpace && text[0] != ' ' ? ' ' + text : text;
            return words is null ? [ByteAlphabet.Encode(spaced)] : words.Pieces(spaced).Select(piece => ByteAlphabet.Encode(piece.Text));
        };
    }

    private static PreTokenizer Split(JsonFields fields)
    {
        UnicodePattern pattern = UnicodePattern.Read(fields.Object("pattern"));
        bool inverted = fields.Flag("invert", otherwise: false);
        return fields.Text("behavior") switch
        {
            "Isolated" => (text, _) => pattern.Pieces(text).Select(piece => piece.Text),
            "Removed" => (text, _) => pattern.Pieces(text).Where(piece => piece.IsMatch == inverted).Select(piece => piece.Text),
            string other => throw new NotSupportedException($"{fields.Source}: the split behavior '{other}' is not supported; supported are Isolated and Removed."),
        };
    }

    private static PreTokenizer Digits(JsonFields fields)
    {
        UnicodePattern numbers = UnicodePattern.Of(fields.Flag("individual_digits", otherwise: false) ? @"\p{N}" : @"\p{N}+");
        return (text, _) => numbers.Pieces(text).Select(piece => piece.Text);
    }

    private static PreTokenizer Metaspace(JsonFields fields)
    {
        (char mark, string scheme) = MetaspaceOptions(fields);
        string escaped = $"\\u{(int)mark:X4}";
        UnicodePattern words = UnicodePattern.Of($"{escaped}?[^{escaped}]+|{escaped}");
        bool split = fields.Flag("split", otherwise: true);
        return (text, isStart) =>
        {
            string marked = text.Replace(' ', mark);
            bool prepend = (scheme == "always" || (scheme == "first" && isStart)) && marked[0] != mark;
            marked = prepend ? mark + marked : marked;
            return split ? words.Pieces(marked).Select(piece => piece.Text) : [marked];
        };
    }

    /// <summary>What stands for a space, and where one is put before a text (<c>always</c>, <c>first</c>, <c>never</c>): for the pre-tokenizer and the decoder.</summary>
    internal static (char Mark, string Scheme) MetaspaceOptions(JsonFields fields)
    {
        string mark = fields.OptionalText("replacement") ?? "▁";
        string scheme = fields.OptionalText("prepend_scheme") ?? (fields.Flag("add_prefix_space", otherwise: true) ? "always" : "never");
        return mark.Length == 1 && scheme is ("always" or "first" or "never")
            ? (mark[0], scheme)
            : throw new NotSupportedException($"{fields.Source}: Metaspace with replacement '{mark}' and prepend_scheme '{scheme}' is not supported.");
    }
}
