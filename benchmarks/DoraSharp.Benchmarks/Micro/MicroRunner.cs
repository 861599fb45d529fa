using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;
using Perfolizer.Horology;

namespace DoraSharp.Benchmarks;

/// <summary>Runs benchmark classes by BenchmarkDotNet, in this process: its generated projects would not find libtorch.</summary>
internal static class MicroRunner
{
    private const string Suffix = "Benchmarks";
    private const int Warmups = 3;
    private const int Iterations = 12;

    /// <exception cref="InvalidOperationException">A benchmark failed; the message has BenchmarkDotNet's log.</exception>
    public static IReadOnlyList<MicroResult> Run(Type benchmarks, TimeSpan iterationTime)
    {
        AccumulationLogger log = new();
        string artifacts = Directory.CreateTempSubdirectory().FullName;
        try
        {
            Job job = Job.Default
                .WithToolchain(InProcessEmitToolchain.Instance)
                .WithWarmupCount(Warmups)
                .WithIterationCount(Iterations)
                .WithIterationTime(TimeInterval.FromMilliseconds(iterationTime.TotalMilliseconds));
            IConfig config = ManualConfig.CreateEmpty()
                .AddJob(job)
                .AddDiagnoser(MemoryDiagnoser.Default)
                .AddColumnProvider(DefaultColumnProviders.Instance)
                .AddLogger(log)
                .WithArtifactsPath(artifacts)
                .WithOptions(ConfigOptions.DisableLogFile);
            Summary summary = BenchmarkRunner.Run(benchmarks, config);
            return summary.Reports.Length > 0 && summary.Reports.All(report => report.Success && report.ResultStatistics is not null)
                ? [.. summary.Reports.Select(Result)]
                : throw new InvalidOperationException($"BenchmarkDotNet could not measure {benchmarks.Name}:{Environment.NewLine}{log.GetLog()}");
        }
        finally
        {
            Directory.Delete(artifacts, recursive: true);
        }
    }

    private static MicroResult Result(BenchmarkReport report)
    {
        BenchmarkCase benchmark = report.BenchmarkCase;
        string type = benchmark.Descriptor.Type.Name;
        return new(
            $"{type[..^Suffix.Length]}.{benchmark.Descriptor.WorkloadMethod.Name}",
            string.Join(", ", benchmark.Parameters.Items.Select(item => $"{item.Name}={item.Value}")),
            report.ResultStatistics!.Median,
            report.GcStats.GetBytesAllocatedPerOperation(benchmark) ?? 0);
    }
}
