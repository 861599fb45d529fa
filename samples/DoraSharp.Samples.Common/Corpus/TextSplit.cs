namespace DoraSharp.Samples;

/// <summary>Texts to train on, and texts that training never sees.</summary>
/// <param name="Training">The first part of each source.</param>
/// <param name="HeldOut">The last part of each source.</param>
public sealed record TextSplit(IReadOnlyList<Document> Training, IReadOnlyList<Document> HeldOut)
{
    /// <summary>
    /// Holds out the last <paramref name="fraction"/> of each source's characters: whole documents where a source has
    /// several, else the end of its one document, from the beginning of a line if there is one near. Contiguous, because the documentation of
    /// neighbouring members is alike and a random split would leak it.
    /// </summary>
    public static TextSplit HoldOut(IEnumerable<Document> documents, double fraction)
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(fraction, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(fraction, 1);
        List<Document> training = [], heldOut = [];
        foreach (IGrouping<string, Document> source in documents.GroupBy(document => document.Source, StringComparer.Ordinal))
        {
            Document[] pieces = [.. source];
            long remaining = (long)(pieces.Sum(piece => (long)piece.Text.Length) * (1 - fraction));
            if (pieces is [Document single] && CutNear(single.Text, (int)remaining) is > 0 and int cut)
            {
                training.Add(single with { Text = single.Text[..cut] });
                heldOut.Add(single with { Text = single.Text[cut..] });
                continue;
            }

            foreach (Document piece in pieces)
            {
                (remaining > 0 ? training : heldOut).Add(piece);
                remaining -= piece.Text.Length;
            }
        }

        return new TextSplit(training, heldOut);
    }

    /// <summary>The last beginning of a line, or else of a word, in the tenth of the text before the position, or else the position.</summary>
    private static int CutNear(string text, int position)
    {
        int reach = Math.Min(position, (text.Length / 10) + 1);
        foreach (char separator in "\n ")
        {
            int found = position == 0 ? -1 : text.LastIndexOf(separator, position - 1, reach);
            if (found >= 0)
            {
                return found + 1;
            }
        }

        bool splitsPair = position > 0 && char.IsSurrogatePair(text, position - 1);
        return splitsPair ? position - 1 : position;
    }
}
