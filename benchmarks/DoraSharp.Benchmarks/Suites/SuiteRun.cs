using System.CommandLine;

namespace DoraSharp.Benchmarks;

/// <summary>What a suite runs with.</summary>
/// <param name="Arguments">The command line, for the suite's own options.</param>
/// <param name="Settings">How to measure.</param>
/// <param name="Report">What gathers the results.</param>
/// <param name="Json">Where to write the results as JSON, if anywhere.</param>
internal sealed record SuiteRun(ParseResult Arguments, RunSettings Settings, Report Report, FileInfo? Json);
