using System.CommandLine;
using System.Globalization;
using TorchSharp;

namespace DoraSharp.Benchmarks;

/// <summary>4-bit weights: their kernels beside what they stand in for, and adapters over them beside adapters over dense ones.</summary>
internal sealed class QuantizationSuite : Suite
{
    public override string Name => "quantization";

    public override string Description => "Measure 4-bit weights: decoding, products of single tokens, quantizing, QLoRA and QDoRA beside LoRA and DoRA.";

    public override IReadOnlyList<Command> ChildCommands { get; } = [QuantizedPeakCommand.Create()];

    /// <exception cref="InvalidOperationException">The run is for a GPU.</exception>
    public override void Run(SuiteRun run)
    {
        if (run.Settings.Device.type != DeviceType.CPU)
        {
            throw new InvalidOperationException($"--{Name} measures on the CPU only: leave --device out.");
        }

        run.Report.Section("Quantization", "NF4 in blocks of 64 with double quantization. Ratios of medians, measured in turns in one process.");
        List<QuantizationRow> rows = [];
        foreach (Func<RunSettings, IEnumerable<QuantizationRow>> part in (Func<RunSettings, IEnumerable<QuantizationRow>>[])[DecodeCosts.Measure, ProductCosts.Measure, QuantizingCosts.Measure, AdapterCosts.Measure])
        {
            foreach (QuantizationRow row in part(run.Settings))
            {
                rows.Add(row);
                JsonFile.Write(run.Json, rows, QuantizationJson.Default.IReadOnlyListQuantizationRow);
            }
        }

        run.Report.Add(Table(rows));
        run.Report.Judge(QuantizationTargets.Judge(rows));
    }

    private static ReportTable Table(IEnumerable<QuantizationRow> rows)
    {
        ReportTable table = new("4-bit weights", ["method", "i → o", "T", "dtype", "ms", "× fill", "× dense", "× floor", "saved KiB", "peak MiB", "bits"], TextColumns: 2);
        foreach (QuantizationRow row in rows)
        {
            table.Add(
                row.Method, $"{row.In} → {row.Out}", row.Tokens.ToString(CultureInfo.InvariantCulture), row.DType, Figures.Three(row.MedianMs), Figures.Three(row.RatioFill),
                Figures.Three(row.RatioDense), Figures.Three(row.RatioFloor), Figures.KiB(row.SavedBytes), Figures.MiB(row.PeakBytes), Figures.Three(row.BitsPerParameter));
        }

        return table;
    }
}
