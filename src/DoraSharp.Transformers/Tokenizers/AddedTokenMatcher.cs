using System.Text.RegularExpressions;

namespace DoraSharp.Transformers;

/// <summary>Finds added tokens in a text: the leftmost first, of those that start together the longest.</summary>
internal sealed class AddedTokenMatcher
{
    private readonly Dictionary<string, AddedToken> byContent;
    private readonly Regex? pattern;

    public AddedTokenMatcher(IEnumerable<AddedToken> tokens)
    {
        byContent = tokens.ToDictionary(token => token.Content, StringComparer.Ordinal);
        string[] alternatives = [.. byContent.Keys.OrderByDescending(content => content.Length).Select(Regex.Escape)];
        pattern = alternatives.Length == 0 ? null : new Regex(string.Join('|', alternatives), RegexOptions.CultureInvariant);
    }

    /// <summary>The text in pieces, in order: each is an added token, or text between two of them (never empty) with its start.</summary>
    public IEnumerable<(AddedToken? Token, string Text, int Start)> Split(string text)
    {
        int end = 0;
        for (Match? match = pattern?.Match(text); match is { Success: true }; match = match.NextMatch())
        {
            if (match.Index < end)
            {
                continue; // a token before it has swallowed its white space
            }

            AddedToken token = byContent[match.Value];
            int start = match.Index, next = match.Index + match.Length;
            while (token.StripsLeft && start > end && char.IsWhiteSpace(text[start - 1]))
            {
                start--;
            }

            while (token.StripsRight && next < text.Length && char.IsWhiteSpace(text[next]))
            {
                next++;
            }

            if (start > end)
            {
                yield return (null, text[end..start], end);
            }

            yield return (token, token.Content, start);
            end = next;
        }

        if (end < text.Length)
        {
            yield return (null, text[end..], end);
        }
    }
}
