using System.CommandLine;
using System.Globalization;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>The hidden command of the child processes that measure a model's peak memory.</summary>
internal static class LlamaPeakCommand
{
    public const string Name = "model-peak";

    /// <summary>From the second micro step on there is nothing more to hold.</summary>
    private const int MicroSteps = 2;

    public static Command Create()
    {
        Argument<string> where = new("device");
        Argument<int> threads = new("threads");
        Command command = new(Name, "Answers cases with peak memory.") { where, threads };
        command.SetAction(parsed =>
        {
            set_num_threads(parsed.GetValue(threads));
            Device target = device(parsed.GetRequiredValue(where));
            ChildProcess.Answer(line => Answer(LlamaCase.Parse(line), target)?.ToString(CultureInfo.InvariantCulture) ?? string.Empty);
        });
        return command;
    }

    private static long? Answer(LlamaCase entry, Device device)
    {
        using LlamaSetting setting = new(device);
        using TrainedLlama model = LlamaMethods.Create(entry.Method, entry.Dropout, setting);
        return MemoryPeak.Of(device, () => model.Step(Math.Min(entry.MicroSteps, MicroSteps), Clocks.Wall));
    }
}
