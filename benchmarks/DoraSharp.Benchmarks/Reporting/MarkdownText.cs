using System.Text;

namespace DoraSharp.Benchmarks;

/// <summary>Tables as Markdown.</summary>
internal static class MarkdownText
{
    public static string Of(ReportTable table)
    {
        StringBuilder text = new();
        text.Append("### ").Append(table.Title).Append("\n\n");
        AppendRow(text, table.Columns);
        AppendRow(text, [.. table.Columns.Select((_, column) => column < table.TextColumns ? "---" : "---:")]);
        foreach (IReadOnlyList<string> row in table.Rows)
        {
            AppendRow(text, row);
        }

        text.Append('\n');
        if (table.Caption is { } caption)
        {
            text.Append(caption).Append("\n\n");
        }

        return text.ToString();
    }

    private static void AppendRow(StringBuilder text, IReadOnlyList<string> cells)
    {
        text.Append('|');
        foreach (string cell in cells)
        {
            text.Append(' ').Append(cell.Replace("|", "\\|", StringComparison.Ordinal)).Append(" |");
        }

        text.Append('\n');
    }
}
