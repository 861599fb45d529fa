using System.Globalization;

namespace DoraSharp.Benchmarks;

/// <summary>Single operations, by BenchmarkDotNet.</summary>
internal sealed class MicroSuite : Suite
{
    private static readonly Type[] Benchmarks = [typeof(CallBenchmarks), typeof(NormBenchmarks), typeof(DropoutBenchmarks), typeof(AdapterSizeBenchmarks)];
    private static readonly TimeSpan ShortIteration = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan FullIteration = TimeSpan.FromMilliseconds(250);

    public override string Name => "micro";

    public override string Description => "Measure single operations by BenchmarkDotNet: a call's overhead, the norm, the dropout mask, what scales with the adapter.";

    /// <exception cref="InvalidOperationException">A benchmark failed, or the run is for a GPU.</exception>
    public override void Run(SuiteRun run)
    {
        if (run.Settings.IsOnGpu)
        {
            throw new InvalidOperationException($"--{Name} measures on the CPU only: leave --device out.");
        }

        run.Report.Section("Single operations", "Measured by BenchmarkDotNet in this process; managed allocations per call.");
        List<MicroResult> results = [];
        foreach (Type benchmarks in Benchmarks)
        {
            results.AddRange(MicroRunner.Run(benchmarks, run.Settings.IsShort ? ShortIteration : FullIteration));
        }

        JsonFile.Write(run.Json, results, MicroJson.Default.IReadOnlyListMicroResult);
        ReportTable table = new("Time and managed memory of a call", ["benchmark", "parameters", "median µs", "managed bytes"], TextColumns: 2);
        foreach (MicroResult result in results)
        {
            table.Add(result.Benchmark, result.Parameters, Figures.Two(result.MedianNs / 1e3), result.AllocatedBytes.ToString(CultureInfo.InvariantCulture));
        }

        run.Report.Add(table);
        run.Report.Judge(MicroTargets.Judge(results));
    }
}
