namespace DoraSharp.Benchmarks;

/// <summary>A table for the console and for Markdown.</summary>
/// <param name="Title">What it shows.</param>
/// <param name="Columns">The headers.</param>
/// <param name="TextColumns">How many of the first columns hold text; the others hold numbers, and stand right.</param>
internal sealed record ReportTable(string Title, IReadOnlyList<string> Columns, int TextColumns = 1)
{
    private readonly List<IReadOnlyList<string>> rows = [];

    public IReadOnlyList<IReadOnlyList<string>> Rows => rows;

    /// <summary>What stands below the table.</summary>
    public string? Caption { get; init; }

    /// <exception cref="ArgumentException">The row is not as long as the table is wide.</exception>
    public void Add(params string[] cells)
    {
        if (cells.Length != Columns.Count)
        {
            throw new ArgumentException($"The table '{Title}' has {Columns.Count} columns, the row {cells.Length} cells.", nameof(cells));
        }

        rows.Add(cells);
    }
}
