namespace DoraSharp.Samples;

/// <summary>Texts to train on, and texts that training never sees.</summary>
/// <param name="Training">The first part of each source.</param>
/// <param name="HeldOut">The last part of each source.</param>
public sealed record TextSplit(IReadOnlyList<Document> Training, IReadOnlyList<Document> HeldOut)
{
    /// <summary>
    /// Holds out the last <paramref name="fraction"/> of each source's characters: whole documents where a source has
    /// several, else the end of its one document, from the beginning of a line. Contiguous, because the documentation of
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
            if (pieces is [Document single])
            {
                pieces = Cut(single, (int)remaining);
            }

            foreach (Document piece in pieces)
            {
                (remaining > 0 ? training : heldOut).Add(piece);
                remaining -= piece.Text.Length;
            }
        }

        return new TextSplit(training, heldOut);
    }

    private static Document[] Cut(Document document, int position)
    {
        int lineEnd = document.Text.IndexOf('\n', position);
        int cut = lineEnd < 0 ? position : lineEnd + 1;
        if (cut > 0 && cut < document.Text.Length && char.IsLowSurrogate(document.Text[cut]))
        {
            cut++;
        }

        return cut == 0 || cut >= document.Text.Length
            ? [document]
            : [document with { Text = document.Text[..cut] }, document with { Text = document.Text[cut..] }];
    }
}
