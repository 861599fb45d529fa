using System.Globalization;
using Spectre.Console;

namespace DoraSharp.Samples.Quickstart;

/// <summary>The comparison as a table: boxes on a terminal, Markdown elsewhere.</summary>
public static class ResultTable
{
    /// <summary>Prints the table.</summary>
    public static void Print(IAnsiConsole console, IEnumerable<MethodResult> results)
    {
        Table table = new() { Border = console.Profile.Out.IsTerminal ? TableBorder.Rounded : TableBorder.Markdown };
        table.AddColumn("Method", column => column.NoWrap());
        foreach (string heading in new[] { "Trainable", "Rate", "Before", "After", "Seconds", "Peak MB" })
        {
            table.AddColumn(heading, column => column.RightAligned());
        }

        CultureInfo culture = CultureInfo.InvariantCulture;
        foreach (MethodResult result in results)
        {
            table.AddRow(
                Markup.Escape(result.Method.Title),
                result.Trainable.ToString("N0", culture),
                result.Method.LearningRate.ToString("0.####", culture),
                result.Curve.Before.ToString("F3", culture),
                result.Curve.After.ToString("F3", culture),
                result.Curve.Duration.TotalSeconds.ToString("F1", culture),
                result.PeakMegabytes.ToString("F0", culture));
        }

        console.Write(table);
        console.WriteLine("Before, after: loss on held-out text, nats per token. Seconds: the training steps.");
        console.WriteLine("Peak MB: highest rise of the process's resident memory, allocator's slack included; it varies by tens of percent between runs.");
    }
}
