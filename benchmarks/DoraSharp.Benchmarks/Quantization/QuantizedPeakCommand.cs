using System.CommandLine;
using System.Globalization;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>The hidden command of the child processes that measure what training a model of many layers takes at most.</summary>
internal static class QuantizedPeakCommand
{
    private const string Name = "quantization-peak";
    private const int Layers = 16;
    private static readonly Scenario Setting = new(new LayerShape(2048, 2048, 128, 16), ScalarType.Float32, StepMode.Train, 0);

    public static Command Create()
    {
        Argument<string> method = new("method");
        Argument<int> threads = new("threads");
        Command command = new(Name, "Answers any line with the peak memory of a training step.") { method, threads };
        command.SetAction(parsed =>
        {
            set_num_threads(parsed.GetValue(threads));
            ChildProcess.Answer(_ => Measure(parsed.GetRequiredValue(method))?.ToString(CultureInfo.InvariantCulture) ?? string.Empty);
        });
        return command;
    }

    /// <summary>The peak resident memory of a process that trains sixteen layers of 2048 → 2048 at 128 tokens by one method; null where it cannot be read.</summary>
    public static long? Ask(string method, RunSettings settings)
    {
        using ChildProcess child = new(Name, method, settings.Threads.ToString(CultureInfo.InvariantCulture));
        string answer = child.Ask(method);
        return answer.Length > 0 ? long.Parse(answer, CultureInfo.InvariantCulture) : null;
    }

    private static long? Measure(string name)
    {
        using Problem problem = new(Setting, CPU);
        Method[] layers = [.. Enumerable.Range(0, Layers).Select(_ => AdapterCosts.Named(name).Create(problem))];
        try
        {
            return MemoryPeak.Of(CPU, Step);
        }
        finally
        {
            Array.ForEach(layers, static layer => layer.Dispose());
        }

        void Step()
        {
            using var scope = NewDisposeScope();
            Array.ForEach(layers, static layer => layer.FinishOptimizerStep());
            layers.Aggregate(problem.Input, static (x, layer) => layer.Forward(x)).backward([problem.OutputGradient]);
            problem.Input.grad = null;
        }
    }
}
