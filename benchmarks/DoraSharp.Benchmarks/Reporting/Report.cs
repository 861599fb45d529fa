using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace DoraSharp.Benchmarks;

/// <summary>Prints what the suites report at once, and keeps what belongs into the Markdown file.</summary>
internal sealed class Report
{
    private readonly IReadOnlyList<string> description;
    private readonly long start = Stopwatch.GetTimestamp();
    private readonly StringBuilder sections = new();
    private readonly List<TargetOutcome> outcomes = [];

    /// <param name="settings">How the run measures.</param>
    /// <param name="arguments">Its command line.</param>
    public Report(RunSettings settings, IReadOnlyList<string> arguments)
    {
        description = RunDescription.Lines(settings, arguments);
        ConsoleText.Prepare();
        foreach (string line in description)
        {
            ConsoleText.Write(line);
        }
    }

    /// <summary>Opens a suite's section.</summary>
    public void Section(string title, string introduction)
    {
        ConsoleText.Write($"{Environment.NewLine}{title}{Environment.NewLine}{introduction}");
        sections.Append(CultureInfo.InvariantCulture, $"## {title}\n\n{introduction}\n\n");
    }

    /// <summary>A table for the console and the file.</summary>
    public void Add(ReportTable table)
    {
        Show(table);
        Keep(table);
    }

    /// <summary>A table for the console alone.</summary>
    public static void Show(ReportTable table) => ConsoleText.Write(table);

    /// <summary>A table for the file alone.</summary>
    public void Keep(ReportTable table) => sections.Append(MarkdownText.Of(table));

    /// <summary>A remark for both.</summary>
    public void Note(string text)
    {
        ConsoleText.Write(text);
        sections.Append(text).Append("\n\n");
    }

    /// <summary>Figures that targets speak of, for the table of targets.</summary>
    public void Judge(IEnumerable<TargetOutcome> judged) => outcomes.AddRange(judged);

    /// <summary>Prints the table of targets, and writes the file if one is wanted.</summary>
    public void Finish(FileInfo? markdown)
    {
        ReportTable? targets = outcomes.Count > 0 ? TargetTable.Of(outcomes) : null;
        if (targets is not null)
        {
            ConsoleText.Write(targets);
        }

        TimeSpan taken = Stopwatch.GetElapsedTime(start);
        string duration = string.Create(CultureInfo.InvariantCulture, $"Time: {(int)taken.TotalMinutes} min {taken.Seconds} s, {DateTime.UtcNow:yyyy-MM-dd}");
        ConsoleText.Write(duration);
        if (markdown is not null)
        {
            StringBuilder text = new("# Results\n\n");
            foreach (string line in (IEnumerable<string>)[.. description, duration])
            {
                text.Append(CultureInfo.InvariantCulture, $"- {line}\n");
            }

            text.Append("\n[README.md](README.md) says what each column means.\n\n");
            text.Append(targets is null ? string.Empty : MarkdownText.Of(targets)).Append(sections);
            markdown.Directory?.Create();
            File.WriteAllText(markdown.FullName, text.ToString().TrimEnd() + "\n");
        }
    }
}
