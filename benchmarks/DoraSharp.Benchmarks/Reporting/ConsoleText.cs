using Spectre.Console;

namespace DoraSharp.Benchmarks;

/// <summary>Tables on the console.</summary>
internal static class ConsoleText
{
    private const int WidthOfFiles = 170;

    /// <summary>A console that is a file or a pipe has no width of its own.</summary>
    public static void Prepare()
    {
        if (Console.IsOutputRedirected)
        {
            AnsiConsole.Profile.Width = WidthOfFiles;
        }
    }

    public static void Write(ReportTable table)
    {
        Table console = new Table().Border(TableBorder.Simple).Title(Markup.Escape(table.Title));
        if (table.Caption is { } caption)
        {
            console.Caption(Markup.Escape(caption));
        }

        foreach ((int index, string header) in table.Columns.Index())
        {
            console.AddColumn(Markup.Escape(header), column => column.Alignment = index < table.TextColumns ? Justify.Left : Justify.Right);
        }

        foreach (IReadOnlyList<string> row in table.Rows)
        {
            console.AddRow([.. row.Select(Markup.Escape)]);
        }

        AnsiConsole.Write(console);
    }

    public static void Write(string line) => AnsiConsole.WriteLine(line);
}
