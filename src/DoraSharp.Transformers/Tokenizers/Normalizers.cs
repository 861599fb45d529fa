namespace DoraSharp.Transformers;

/// <summary>The normalizers of a <c>tokenizer.json</c>: what happens to a text before it is split.</summary>
internal static class Normalizers
{
    /// <summary>Reads a normalizer; refuses an unknown one by name.</summary>
    public static Func<string, string> Read(JsonFields? normalizer)
    {
        if (normalizer is null)
        {
            return text => text;
        }

        switch (normalizer.Text("type"))
        {
            case "Sequence":
                Func<string, string>[] steps = [.. normalizer.Objects("normalizers").Select(Read)];
                return text => steps.Aggregate(text, (current, step) => step(current));
            case "Prepend":
                string prefix = normalizer.Text("prepend");
                return text => text.Length == 0 ? text : prefix + text;
            case "Replace":
                return Replace(normalizer);
            default:
                throw new NotSupportedException($"{normalizer.Source}: the normalizer '{normalizer.Text("type")}' is not supported; supported are Sequence, Prepend and Replace.");
        }
    }

    /// <summary>Reads <c>{"pattern": …, "content": "…"}</c>, which is a normalizer and a decoder.</summary>
    internal static Func<string, string> Replace(JsonFields replace)
    {
        string content = replace.Text("content");
        JsonFields pattern = replace.Object("pattern");
        if (pattern.OptionalText("String") is { Length: > 0 } literal)
        {
            return text => text.Replace(literal, content, StringComparison.Ordinal);
        }

        UnicodePattern expression = UnicodePattern.Read(pattern);
        return text => expression.Replace(text, content);
    }
}
