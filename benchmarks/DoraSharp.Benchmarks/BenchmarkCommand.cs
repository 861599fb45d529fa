using System.CommandLine;
using TorchSharp;

namespace DoraSharp.Benchmarks;

/// <summary>The command line.</summary>
internal static class BenchmarkCommand
{
    /// <summary>Leaves room for the last scenario's least number of rounds.</summary>
    private static readonly TimeSpan ShortRun = TimeSpan.FromSeconds(130);

    public static RootCommand Create()
    {
        Option<bool> isShort = new("--short") { Description = "Measure the targets' shapes only, in three minutes at most." };
        Option<FileInfo?> json = new("--json") { Description = "Write the results to this file, as an array with an object for each scenario and method.", HelpName = "FILE" };
        Option<string[]> shapes = new("--shape") { Description = "Measure this shape in place of the grid's: IN,OUT,TOKENS,RANK. Can be repeated.", HelpName = "SHAPE" };
        Option<string[]> modes = new("--mode") { Description = "Measure only this mode. Can be repeated." };
        Option<string[]> dtypes = new("--dtype") { Description = "Measure only this dtype. Can be repeated." };
        Option<double[]> dropouts = new("--dropout") { Description = "Measure only this dropout (0 or 0.05). Can be repeated.", HelpName = "P" };
        Option<double> seconds = new("--seconds") { Description = "The full run's time for each scenario.", DefaultValueFactory = _ => 20 };
        Option<bool> peak = new("--peak") { Description = "Measure peak memory as well, each method in a process of its own; not in the short run." };
        Option<bool> cpuTime = new("--cpu-time") { Description = "Use one thread and count the time that it computes, in place of the time on the wall: for machines that are busy with other work (Linux)." };
        Option<int> threads = new("--threads") { Description = "libtorch's threads.", DefaultValueFactory = _ => Math.Min(2, Environment.ProcessorCount) };
        modes.AcceptOnlyFromAmong([.. Names.Modes.Select(Names.Of)]);
        dtypes.AcceptOnlyFromAmong([.. Names.DTypes.Select(Names.Of)]);
        shapes.Validators.Add(result =>
        {
            foreach (var token in result.Tokens.Where(token => !LayerShape.TryParse(token.Value, out _)))
            {
                result.AddError($"'{token.Value}' is no shape: give IN,OUT,TOKENS,RANK, four positive numbers.");
            }
        });

        RootCommand command = new("Times adapter layers beside the frozen layer, and beside other libraries' algorithms, in the same libtorch.")
        {
            isShort, json, shapes, modes, dtypes, dropouts, seconds, peak, cpuTime, threads, PeakCommand.Create(),
        };
        command.Validators.Add(result =>
        {
            if (result.GetValue(isShort) && result.GetValue(peak))
            {
                result.AddError("--peak starts a process for each method and scenario: it goes with the full run only.");
            }
        });
        command.SetAction(parsed =>
        {
            bool brief = parsed.GetValue(isShort);
            ScenarioFilter filter = new(
                [.. parsed.GetValue(shapes)!.Select(LayerShape.Parse)],
                [.. parsed.GetValue(modes)!.Select(Names.Mode)],
                [.. parsed.GetValue(dtypes)!.Select(Names.DType)],
                parsed.GetValue(dropouts)!);
            bool cpu = parsed.GetValue(cpuTime);
            MeasuringOptions options = new(
                MinRounds: 3,
                MaxRounds: brief ? 40 : 100,
                Threads: cpu ? 1 : parsed.GetValue(threads),
                Clock: cpu ? Clocks.ThreadCpu : Clocks.Wall,
                MeasuresPeak: parsed.GetValue(peak));
            torch.set_num_threads(options.Threads);
            IReadOnlyList<Scenario> scenarios = filter.Apply(brief ? ScenarioGrid.Short : ScenarioGrid.Full);
            TimeBudget budget = brief
                ? new(ShortRun, isFirm: true)
                : new(TimeSpan.FromSeconds(parsed.GetValue(seconds)) * scenarios.Count, isFirm: false);
            return new BenchmarkRun(options, budget, parsed.GetValue(json)).Run(scenarios);
        });
        return command;
    }
}
