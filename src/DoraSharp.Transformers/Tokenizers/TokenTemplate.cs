using System.Text.Json;

namespace DoraSharp.Transformers;

/// <summary>The special tokens that a post-processor puts around a text.</summary>
internal sealed record TokenTemplate(IReadOnlyList<long> Before, IReadOnlyList<long> After)
{
    /// <summary>Reads a post-processor; refuses an unknown one by name.</summary>
    public static TokenTemplate Read(JsonFields? processor)
    {
        if (processor is null)
        {
            return new TokenTemplate([], []);
        }

        return processor.Text("type") switch
        {
            // Changes offsets only, which nothing here reports.
            "ByteLevel" => new TokenTemplate([], []),
            "Sequence" => processor.Objects("processors").Select(Read).Aggregate(
                new TokenTemplate([], []),
                (inner, outer) => new TokenTemplate([.. outer.Before, .. inner.Before], [.. inner.After, .. outer.After])),
            "TemplateProcessing" => ReadTemplate(processor),
            string other => throw new NotSupportedException(
                $"{processor.Source}: the post-processor '{other}' is not supported; supported are Sequence, ByteLevel and TemplateProcessing."),
        };
    }

    private static TokenTemplate ReadTemplate(JsonFields processor)
    {
        JsonFields? special = processor.OptionalObject("special_tokens");
        List<long> before = [], after = [];
        bool sawText = false;
        foreach (JsonFields item in processor.Objects("single"))
        {
            if (item.OptionalObject("SpecialToken") is { } token)
            {
                (sawText ? after : before).AddRange(Ids(token.Text("id"), special, processor));
            }
            else if (item.Has("Sequence") && !sawText)
            {
                sawText = true;
            }
            else
            {
                throw new InvalidDataException($"{processor.Source}: 'single' must hold special tokens and the text once.");
            }
        }

        return sawText ? new TokenTemplate(before, after) : throw new InvalidDataException($"{processor.Source}: 'single' lacks the text.");
    }

    private static IEnumerable<long> Ids(string token, JsonFields? special, JsonFields processor)
    {
        JsonFields entry = special?.OptionalObject(token) ?? throw new InvalidDataException($"{processor.Source}: the special token '{token}' is not declared.");
        return entry.Array("ids").Select(id => id.ValueKind == JsonValueKind.Number && id.TryGetInt32(out int value) && value >= 0
            ? (long)value
            : throw entry.Wrong("ids", id, "a list of token ids"));
    }
}
