using System.CommandLine;
using System.Globalization;
using TorchSharp;

namespace DoraSharp.Benchmarks;

/// <summary>The hidden command of the child processes that measure peak memory.</summary>
internal static class PeakCommand
{
    public static Command Create()
    {
        Argument<string> shape = new("shape");
        Argument<string> dtype = new("dtype");
        Argument<string> mode = new("mode");
        Argument<double> dropout = new("dropout");
        Argument<string> method = new("method");
        Argument<int> threads = new("threads");
        Command command = new(PeakMemory.CommandName, "Prints the peak memory of one method.") { shape, dtype, mode, dropout, method, threads };
        command.Hidden = true;
        command.SetAction(parsed =>
        {
            torch.set_num_threads(parsed.GetValue(threads));
            Scenario scenario = new(
                LayerShape.Parse(parsed.GetRequiredValue(shape)),
                Names.DType(parsed.GetRequiredValue(dtype)),
                Names.Mode(parsed.GetRequiredValue(mode)),
                parsed.GetValue(dropout));
            long bytes = PeakMemory.MeasureHere(scenario, MethodCatalog.Named(parsed.GetRequiredValue(method)));
            Console.WriteLine(bytes.ToString(CultureInfo.InvariantCulture));
        });
        return command;
    }
}
