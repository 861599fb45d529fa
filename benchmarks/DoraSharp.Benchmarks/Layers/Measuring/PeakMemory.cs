using System.Globalization;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>
/// The peak memory of a process that runs one method at a time: resident memory on the CPU, the GPU's used memory on CUDA. Less
/// the floor's, it is what the method needs.
/// </summary>
/// <remarks>On CUDA each method has a process of its own, since libtorch keeps what it once took; elsewhere one process does.</remarks>
internal sealed class PeakMemory(RunSettings settings) : IDisposable
{
    private const char Separator = ' ';

    private ChildProcess? kept;

    /// <summary>A method's peak in bytes; <see langword="null"/> where it cannot be read.</summary>
    /// <exception cref="InvalidOperationException">The child failed.</exception>
    public long? Measure(Scenario scenario, MethodDefinition method)
    {
        string question = string.Join(Separator, [
            scenario.Shape.ToString(), Names.Of(scenario.DType), Names.Of(scenario.Mode),
            scenario.Dropout.ToString(CultureInfo.InvariantCulture), method.Name,
        ]);
        if (!settings.IsOnGpu)
        {
            return Parse((kept ??= Start()).Ask(question));
        }

        using ChildProcess child = Start();
        return Parse(child.Ask(question));
    }

    public void Dispose() => kept?.Dispose();

    /// <summary>The child's part.</summary>
    public static long? Answer(string question, Device device)
    {
        string[] parts = question.Split(Separator);
        Scenario scenario = new(LayerShape.Parse(parts[0]), Names.DType(parts[1]), Names.Mode(parts[2]), double.Parse(parts[3], CultureInfo.InvariantCulture));
        using Problem problem = new(scenario, device);
        using Method method = MethodCatalog.Named(parts[4]).Create(problem);
        method.Train(scenario.HasBackward);
        Step step = new(method, problem, Clocks.WallOf(device));
        return MemoryPeak.Of(device, () => step.Run());
    }

    private static long? Parse(string answer) => answer.Length > 0 ? long.Parse(answer, CultureInfo.InvariantCulture) : null;

    private ChildProcess Start() => new(PeakCommand.Name, Names.Of(settings.Device), settings.Threads.ToString(CultureInfo.InvariantCulture));
}
