using System.CommandLine;
using System.Diagnostics;
using System.Globalization;

namespace DoraSharp.Benchmarks;

/// <summary>A whole Llama under training: what an optimizer step costs, with and without gradient accumulation.</summary>
internal sealed class ModelSuite : Suite
{
    private const int MinRounds = 3;
    private const int MaxRounds = 20;

    public override string Name => "model";

    public override string Description => "Measure optimizer steps of a whole Llama: frozen, fully trained, LoRA, DoRA, PEFT's algorithm.";

    public override IReadOnlyList<Command> ChildCommands { get; } = [LlamaPeakCommand.Create()];

    /// <exception cref="InvalidOperationException">PEFT's algorithm computes something else than this library.</exception>
    public override void Run(SuiteRun run)
    {
        RunSettings settings = run.Settings;
        using LlamaSetting setting = new(settings.Device);
        run.Report.Section("A whole model", $"{LlamaSetting.Description}, float32. Times are per micro step, the optimizer's step (AdamW) shared among them.");
        LlamaAgreement.Require(setting);
        IReadOnlyList<LlamaCase> cases = settings.IsShort ? LlamaCase.Short : LlamaCase.Full;
        Dictionary<LlamaCase, long?> peaks = cases.ToDictionary(entry => entry, entry => Peak(entry, settings));
        List<LlamaResult> results = [];
        foreach (IGrouping<int, LlamaCase> group in cases.GroupBy(entry => entry.MicroSteps))
        {
            Dictionary<LlamaCase, Samples> times = Time([.. group], setting, settings);
            results.AddRange(group.Select(entry => new LlamaResult(entry, times[entry], peaks[entry])));
            JsonFile.Write(run.Json, Rows(results), ModelJson.Default.IReadOnlyListLlamaRow);
        }

        run.Report.Add(Table(results));
    }

    /// <summary>Each case has its turn in each round, as for the layers.</summary>
    private static Dictionary<LlamaCase, Samples> Time(IReadOnlyList<LlamaCase> cases, LlamaSetting setting, RunSettings settings)
    {
        Func<double> clock = settings.Clock;
        TrainedLlama[] models = [.. cases.Select(entry => LlamaMethods.Create(entry.Method, entry.Dropout, setting))];
        try
        {
            foreach (TrainedLlama model in models)
            {
                model.Step(1, clock);
            }

            long start = Stopwatch.GetTimestamp();
            TimeSpan budget = settings.IsShort ? TimeSpan.Zero : TimeSpan.FromSeconds(settings.Seconds * cases.Count);
            int least = settings.IsShort && cases[0].MicroSteps > 1 ? 1 : MinRounds;
            Samples[] samples = [.. models.Select(_ => new Samples())];
            for (int round = 0; round < least || (round < MaxRounds && Stopwatch.GetElapsedTime(start) < budget); round++)
            {
                for (int turn = 0; turn < models.Length; turn++)
                {
                    int index = (round + turn) % models.Length;
                    samples[index].Add(models[index].Step(cases[index].MicroSteps, clock));
                }
            }

            return cases.Zip(samples).ToDictionary();
        }
        finally
        {
            foreach (TrainedLlama model in models)
            {
                model.Dispose();
            }
        }
    }

    private static long? Peak(LlamaCase entry, RunSettings settings)
    {
        if (!settings.MeasuresPeak)
        {
            return null;
        }

        using ChildProcess child = new(LlamaPeakCommand.Name, Names.Of(settings.Device), settings.Threads.ToString(CultureInfo.InvariantCulture));
        return long.TryParse(child.Ask(entry.ToString()), CultureInfo.InvariantCulture, out long bytes) ? bytes : null;
    }

    private static IReadOnlyList<LlamaRow> Rows(IReadOnlyList<LlamaResult> results) =>
    [
        .. results.Select(result => new LlamaRow(
            result.Case.Method, result.Case.Dropout, result.Case.MicroSteps, Names.Of(TorchSharp.torch.ScalarType.Float32),
            Math.Round(result.Times.Median, 3), Math.Round(Over(result, LlamaMethods.Frozen, results), 4), result.PeakBytes)),
    ];

    private static ReportTable Table(List<LlamaResult> results)
    {
        ReportTable table = new("Optimizer steps", ["method", "dropout", "micro steps", "ms per micro step", "± %", "× frozen", "× LoRA", "peak MiB", "peak MiB over frozen"], TextColumns: 2);
        foreach (LlamaResult result in results)
        {
            table.Add(
                result.Case.Method,
                result.Case.Dropout.ToString(CultureInfo.InvariantCulture),
                result.Case.MicroSteps.ToString(CultureInfo.InvariantCulture),
                Figures.Two(result.Times.Median),
                Figures.Percent(result.Times.Spread),
                Figures.Two(Over(result, LlamaMethods.Frozen, results)),
                Figures.Two(Over(result, LlamaMethods.Lora, results)),
                Figures.MiB(result.PeakBytes),
                Figures.MiB(result.PeakBytes - Find(result, LlamaMethods.Frozen, results).PeakBytes));
        }

        return table;
    }

    private static double Over(LlamaResult result, string method, IReadOnlyList<LlamaResult> results) =>
        result.Times.Median / Find(result, method, results).Times.Median;

    /// <summary>The other method's result with as many micro steps, without dropout.</summary>
    private static LlamaResult Find(LlamaResult result, string method, IReadOnlyList<LlamaResult> results) =>
        results.First(other => other.Case == new LlamaCase(method, 0, result.Case.MicroSteps));
}
