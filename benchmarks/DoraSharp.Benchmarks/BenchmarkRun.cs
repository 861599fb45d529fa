using System.Globalization;
using System.Runtime.InteropServices;
using Spectre.Console;

namespace DoraSharp.Benchmarks;

/// <summary>Measures scenarios one after the other, prints each table when it is done, and keeps the JSON file up to date.</summary>
/// <param name="options">How to measure.</param>
/// <param name="budget">The time for all scenarios.</param>
/// <param name="json">Where to write the results, if anywhere.</param>
internal sealed class BenchmarkRun(MeasuringOptions options, TimeBudget budget, FileInfo? json)
{
    /// <summary>The spread from which on a scenario's ratios are not to be trusted.</summary>
    private const double Noise = .1;
    private const int WidthOfFiles = 150;

    /// <summary>Returns the process's exit code.</summary>
    public int Run(IReadOnlyList<Scenario> scenarios)
    {
        if (scenarios.Count == 0)
        {
            Console.Error.WriteLine("No scenario is left: the options exclude each other.");
            return 1;
        }

        if (Console.IsOutputRedirected)
        {
            AnsiConsole.Profile.Width = WidthOfFiles;
        }

        AnsiConsole.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{RuntimeInformation.OSDescription}, {Environment.ProcessorCount} processors, libtorch threads: {options.Threads}, {(options.Clock == Clocks.Wall ? "wall time" : "CPU time")}, {scenarios.Count} scenarios"));
        AnsiConsole.WriteLine();
        Comparison comparison = new(options);
        List<ScenarioResult> results = [];
        foreach (Scenario scenario in scenarios.TakeWhile(_ => !budget.IsSpent))
        {
            results.Add(comparison.Run(scenario, budget.Share(scenarios.Count - results.Count)));
            AnsiConsole.Write(ResultTable.Of(results[^1]));
            if (json is not null)
            {
                JsonReport.Write(json, results);
            }
        }

        Table targets = TargetTable.Of(results);
        if (targets.Rows.Count > 0)
        {
            AnsiConsole.Write(targets);
        }

        WarnOfNoise(results);
        foreach (Scenario scenario in scenarios.Skip(results.Count))
        {
            AnsiConsole.WriteLine($"Not measured, the time was over: {scenario}");
        }

        return 0;
    }

    private void WarnOfNoise(List<ScenarioResult> results)
    {
        int noisy = results.Count(result => result[MethodCatalog.Floor].Times.Spread > Noise || result[MethodCatalog.Dora].Times.Spread > Noise);
        if (noisy > 0)
        {
            string advice = options.Clock == Clocks.Wall ? " --cpu-time leaves other programs' work out." : string.Empty;
            AnsiConsole.WriteLine(string.Create(CultureInfo.InvariantCulture, $"In {noisy} of {results.Count} scenarios the floor's or DoRA's times spread by more than {Noise:p0}: the machine was busy, and their ratios mean little.{advice}"));
        }
    }
}
