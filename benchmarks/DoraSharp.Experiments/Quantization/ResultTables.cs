using System.Globalization;
using Spectre.Console;

namespace DoraSharp.Experiments.Quantization;

/// <summary>The figures as tables that can be pasted into Markdown.</summary>
internal static class ResultTables
{
    private static readonly CultureInfo Culture = CultureInfo.InvariantCulture;

    /// <summary>Each storage in a row.</summary>
    public static Table Storages(IEnumerable<StorageResult> storages)
    {
        Table table = Empty("Storage", "Bits", "Error of the weights", "Held-out loss");
        foreach (StorageResult storage in storages)
        {
            table.AddRow(storage.Name, storage.Bits.ToString("F3", Culture), storage.Error.ToString("F4", Culture), storage.Loss.ToString("F3", Culture));
        }

        return table;
    }

    /// <summary>Each method in a row, at its best learning rate.</summary>
    public static Table Methods(IEnumerable<FineTuningRun> runs)
    {
        Table table = Empty("Method", "Best rate", "Before", "After", "Seconds", "Peak MB");
        foreach (IGrouping<string, FineTuningRun> method in runs.GroupBy(run => run.Method))
        {
            FineTuningRun[] best = [.. method.GroupBy(run => run.Rate).MinBy(rate => Spread.Of([.. rate.Select(run => run.After)]) is { Mean: var mean } && double.IsFinite(mean) ? mean : double.MaxValue)!];
            table.AddRow(
                method.Key,
                best[0].Rate.ToString("0.0e+0", Culture),
                best[0].Before.ToString("F3", Culture),
                Text(Spread.Of([.. best.Select(run => run.After)])),
                best.Average(run => run.Seconds).ToString("F1", Culture),
                best.Max(run => run.PeakMegabytes).ToString("F0", Culture));
        }

        return table;
    }

    /// <summary>A line about the runs of a method at a rate.</summary>
    public static string Line(IReadOnlyList<FineTuningRun> runs) =>
        string.Create(Culture, $"{runs[0].Method,-6} rate {runs[0].Rate:0.0e+0}: {Text(Spread.Of([.. runs.Select(run => run.After)]))}");

    private static Table Empty(params string[] columns) => new Table { Border = TableBorder.Markdown }.AddColumns(columns);

    private static string Text(Spread spread) => string.Create(Culture, $"{spread.Mean:F4} ± {spread.StandardError:F4}");
}
