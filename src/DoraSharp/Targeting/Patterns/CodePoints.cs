namespace DoraSharp;

/// <summary>Texts as Python sees them: a character is a code point, not a UTF-16 unit.</summary>
internal static class CodePoints
{
    /// <summary>The code points of a text; half a surrogate pair counts as one.</summary>
    public static int[] Of(string text)
    {
        List<int> points = new(text.Length);
        for (int i = 0; i < text.Length; i++)
        {
            bool isPair = char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]);
            points.Add(isPair ? char.ConvertToUtf32(text[i], text[++i]) : text[i]);
        }

        return [.. points];
    }

    /// <summary>The text of code points.</summary>
    public static string ToText(ReadOnlySpan<int> points)
    {
        System.Text.StringBuilder text = new(points.Length);
        foreach (int point in points)
        {
            if (point > char.MaxValue)
            {
                text.Append(char.ConvertFromUtf32(point));
            }
            else
            {
                text.Append((char)point);
            }
        }

        return text.ToString();
    }
}
