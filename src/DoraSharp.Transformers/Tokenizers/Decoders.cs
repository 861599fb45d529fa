using System.Globalization;
using System.Text;

namespace DoraSharp.Transformers;

/// <summary>The decoders of a <c>tokenizer.json</c>: from tokens back to text.</summary>
internal static class Decoders
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Reads a decoder; refuses an unknown one by name. What it gives is concatenated.</summary>
    public static Func<IEnumerable<string>, IEnumerable<string>> Read(JsonFields? decoder)
    {
        if (decoder is null)
        {
            return tokens => [string.Join(' ', tokens)];
        }

        switch (decoder.Text("type"))
        {
            case "Sequence":
                Func<IEnumerable<string>, IEnumerable<string>>[] steps = [.. decoder.Objects("decoders").Select(Read)];
                return tokens => steps.Aggregate(tokens, (current, step) => step(current));
            case "Replace":
                Func<string, string> replace = Normalizers.Replace(decoder);
                return tokens => tokens.Select(replace);
            case "ByteFallback":
                return ByteFallback;
            case "Fuse":
                return tokens => [string.Concat(tokens)];
            case "Strip":
                return Strip(decoder);
            case "ByteLevel":
                return tokens => [ByteAlphabet.Decode(tokens)];
            case "Metaspace":
                return Metaspace(decoder);
            default:
                throw new NotSupportedException(
                    $"{decoder.Source}: the decoder '{decoder.Text("type")}' is not supported; supported are Sequence, Replace, ByteFallback, Fuse, Strip, ByteLevel and Metaspace.");
        }
    }

    /// <summary>Joins runs of byte tokens (<c>&lt;0xE2&gt;</c>) to the text that they spell, or to one U+FFFD a byte where they spell none.</summary>
    private static IEnumerable<string> ByteFallback(IEnumerable<string> tokens)
    {
        var bytes = new List<byte>();
        foreach (string token in tokens)
        {
            if (token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>'
                && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value))
            {
                bytes.Add(value);
                continue;
            }

            if (bytes.Count > 0)
            {
                yield return Spelled(bytes);
                bytes.Clear();
            }

            yield return token;
        }

        if (bytes.Count > 0)
        {
            yield return Spelled(bytes);
        }
    }

    private static string Spelled(List<byte> bytes)
    {
        try
        {
            return Strict.GetString([.. bytes]);
        }
        catch (DecoderFallbackException)
        {
            return new string('\uFFFD', bytes.Count);
        }
    }

    private static Func<IEnumerable<string>, IEnumerable<string>> Strip(JsonFields decoder)
    {
        string content = decoder.Text("content");
        if (content.Length == 0)
        {
            throw new InvalidDataException($"{decoder.Source}: 'content' is empty.");
        }

        int start = decoder.OptionalCount("start") ?? 0, stop = decoder.OptionalCount("stop") ?? 0;
        return tokens => tokens.Select(token =>
        {
            int from = 0, to = token.Length;
            for (int i = 0; i < start && string.CompareOrdinal(token, from, content, 0, content.Length) == 0 && from + content.Length <= to; i++)
            {
                from += content.Length;
            }

            for (int i = 0; i < stop && to - content.Length >= from && string.CompareOrdinal(token, to - content.Length, content, 0, content.Length) == 0; i++)
            {
                to -= content.Length;
            }

            return token[from..to];
        });
    }

    private static Func<IEnumerable<string>, IEnumerable<string>> Metaspace(JsonFields decoder)
    {
        (char mark, string scheme) = PreTokenizers.MetaspaceOptions(decoder);
        return tokens => tokens.Select((token, index) => token.Replace(mark.ToString(), index == 0 && scheme != "never" ? "" : " ", StringComparison.Ordinal));
    }
}
