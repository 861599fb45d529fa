using System.CommandLine;
using System.Globalization;
using TorchSharp;

namespace DoraSharp.Benchmarks;

/// <summary>The hidden command of the child processes that measure a layer's peak memory.</summary>
internal static class PeakCommand
{
    public const string Name = "layer-peaks";

    public static Command Create()
    {
        Argument<string> device = new("device");
        Argument<int> threads = new("threads");
        Command command = new(Name, "Answers scenarios and methods with peak memory.") { device, threads };
        command.SetAction(parsed =>
        {
            torch.set_num_threads(parsed.GetValue(threads));
            torch.Device target = torch.device(parsed.GetRequiredValue(device));
            ChildProcess.Answer(line => PeakMemory.Answer(line, target)?.ToString(CultureInfo.InvariantCulture) ?? string.Empty);
        });
        return command;
    }
}
