using System.CommandLine;
using System.Globalization;

namespace DoraSharp.Benchmarks;

/// <summary>One adapted linear layer beside the frozen layer and other libraries' algorithms, over a grid of shapes.</summary>
internal sealed class LayerSuite : Suite
{
    /// <summary>The spread from which on a scenario's ratios are not to be trusted.</summary>
    private const double Noise = .1;

    /// <summary>Leaves room for the last scenario's least number of rounds.</summary>
    private static readonly TimeSpan ShortRun = TimeSpan.FromSeconds(140);

    private readonly ScenarioOptions options = new();

    public override string Name => "layers";

    public override string Description => "Measure one adapted layer beside the frozen layer and other libraries' algorithms. What runs when no suite is named.";

    public override IReadOnlyList<Option> Options => options.All;

    public override IReadOnlyList<Command> ChildCommands { get; } = [PeakCommand.Create()];

    /// <exception cref="InvalidOperationException">The options leave no scenario, or a method computes something else than this library.</exception>
    public override void Run(SuiteRun run)
    {
        RunSettings settings = run.Settings;
        IReadOnlyList<Scenario> scenarios = options.Read(run.Arguments).Apply(ScenarioGrid.Of(settings));
        if (scenarios.Count == 0)
        {
            throw new InvalidOperationException("No scenario is left: the options exclude each other.");
        }

        run.Report.Section("Layers", $"Ratios of medians, measured in turns in one process; {scenarios.Count} scenarios.");
        TimeBudget budget = settings.IsShort
            ? new(ShortRun, isFirm: true)
            : new(TimeSpan.FromSeconds(settings.Seconds) * scenarios.Count, isFirm: false);
        List<ScenarioResult> results = [];
        List<string> left = [];
        using (PeakMemory? peak = settings.MeasuresPeak ? new PeakMemory(settings) : null)
        {
            Comparison comparison = new(settings, peak);
            foreach ((int index, Scenario scenario) in scenarios.Index())
            {
                if (budget.IsSpent)
                {
                    left.Add($"{scenario}: the time was over");
                }
                else if (comparison.Run(scenario, budget.Share(scenarios.Count - index)) is { } result)
                {
                    results.Add(result);
                    Report.Show(ResultTable.Of(result));
                    JsonFile.Write(run.Json, JsonRow.Of(results), LayerJson.Default.IReadOnlyListJsonRow);
                }
                else
                {
                    left.Add($"{scenario}: a step of the floor alone takes too long for --seconds {settings.Seconds.ToString(CultureInfo.InvariantCulture)}");
                }
            }
        }

        Summarize(run, results, left);
    }

    private static void Summarize(SuiteRun run, List<ScenarioResult> results, List<string> left)
    {
        if (results.Count > 0)
        {
            run.Report.Keep(RatioTable.Of(results));
            run.Report.Keep(CostTable.Of(results));
        }

        run.Report.Judge(LayerTargets.Judge(results, run.Settings));
        int noisy = results.Count(result => result[MethodCatalog.Floor].Times.Spread > Noise || result[MethodCatalog.Dora].Times.Spread > Noise);
        if (noisy > 0)
        {
            string advice = run.Settings.CountsCpuTime ? string.Empty : " --cpu-time leaves other programs' work out.";
            run.Report.Note(string.Create(CultureInfo.InvariantCulture, $"In {noisy} of {results.Count} scenarios the floor's or DoRA's times spread by more than {Noise:p0}: the machine was busy, and their ratios mean little.{advice}"));
        }

        foreach (string reason in left)
        {
            run.Report.Note($"Not measured: {reason}.");
        }
    }
}
