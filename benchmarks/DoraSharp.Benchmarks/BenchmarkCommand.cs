using System.CommandLine;
using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>The command line: a switch for each suite, and the options that they share.</summary>
internal static class BenchmarkCommand
{
    private const double DefaultSeconds = 20;

    public static RootCommand Create()
    {
        Option<bool> isShort = new("--short") { Description = "Measure what the targets speak of only; the layers in three minutes at most." };
        Option<FileInfo?> json = new("--json") { Description = "Write the results to this file as well. Where several suites run, those after the first write to files beside it, with their names before the extension.", HelpName = "FILE" };
        Option<FileInfo?> markdown = new("--markdown") { Description = "Write the tables to this file as well, with the machine, the command and the commit.", HelpName = "FILE" };
        Option<double> seconds = new("--seconds") { Description = "A full run's time for each item, such as a scenario.", DefaultValueFactory = _ => DefaultSeconds, HelpName = "S" };
        Option<string> device = new("--device") { Description = "Where to compute; cuda needs a build with -p:TorchBackend=cuda and a GPU.", DefaultValueFactory = _ => Names.Devices[0] };
        Option<int> threads = new("--threads") { Description = "libtorch's threads.", DefaultValueFactory = _ => Math.Min(2, Environment.ProcessorCount), HelpName = "N" };
        Option<bool> cpuTime = new("--cpu-time") { Description = "Use one thread and count the time that it computes, in place of the time on the wall: for machines that are busy with other work (Linux)." };
        Option<bool> noPeak = new("--no-peak") { Description = "Do not run the methods in processes of their own as well, for their peak memory." };
        device.AcceptOnlyFromAmong([.. Names.Devices]);
        device.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<string>() == Names.Cuda && !Cuda.IsAvailable(out string reason))
            {
                result.AddError($"--device {Names.Cuda}: {reason}");
            }
        });

        (Suite Suite, Option<bool> Switch)[] suites = [.. SuiteCatalog.All.Select(suite => (suite, new Option<bool>($"--{suite.Name}") { Description = suite.Description }))];
        RootCommand command = new("Times adapters beside the frozen model, and beside other libraries' algorithms, in the same libtorch.");
        foreach (Option option in (IEnumerable<Option>)[.. suites.Select(entry => entry.Switch), isShort, json, markdown, seconds, device, threads, cpuTime, noPeak, .. suites.SelectMany(entry => entry.Suite.Options)])
        {
            command.Add(option);
        }

        foreach (Command child in suites.SelectMany(entry => entry.Suite.ChildCommands))
        {
            child.Hidden = true;
            command.Add(child);
        }

        command.SetAction(parsed =>
        {
            bool cpu = parsed.GetValue(cpuTime);
            RunSettings settings = new(
                parsed.GetValue(isShort),
                torch.device(parsed.GetRequiredValue(device)),
                cpu ? 1 : parsed.GetValue(threads),
                cpu,
                parsed.GetValue(seconds),
                MeasuresPeak: !parsed.GetValue(noPeak));
            set_num_threads(settings.Threads);
            Suite[] chosen = [.. suites.Where(entry => parsed.GetValue(entry.Switch)).Select(entry => entry.Suite)];
            Run(chosen.Length > 0 ? chosen : [SuiteCatalog.Default], parsed, settings, parsed.GetValue(json), parsed.GetValue(markdown));
        });
        return command;
    }

    private static void Run(Suite[] suites, ParseResult arguments, RunSettings settings, FileInfo? json, FileInfo? markdown)
    {
        Report report = new(settings, [.. arguments.Tokens.Select(token => token.Value)]);
        foreach (Suite suite in suites)
        {
            suite.Run(new(arguments, settings, report, json is null || suite == suites[0] ? json : Beside(json, suite.Name)));
        }

        report.Finish(markdown);
    }

    private static FileInfo Beside(FileInfo file, string name) =>
        new(Path.ChangeExtension(file.FullName, name + file.Extension));
}
