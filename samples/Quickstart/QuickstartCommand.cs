using System.Globalization;
using DoraSharp.Transformers;
using Spectre.Console;
using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Samples.Quickstart;

/// <summary>The whole way once: load, adapt three times, compare, save, load, merge, check.</summary>
public static class QuickstartCommand
{
    private const int ChecksFailed = 2;
    private const int ProbeRows = 4;
    private const int ProbeTokens = 64;

    /// <summary>Runs the command; returns its exit code.</summary>
    /// <exception cref="UserException">The user gave something that cannot be used.</exception>
    public static int Run(QuickstartOptions options, IAnsiConsole console)
    {
        CheckNumbers(options);
        BaseModel baseModel = BaseModel.Open(options.Model);
        TextSplit text = AdaptationText.Read(options.Data);
        CreateFolder(options.Output);
        TextSample sample = TextSample.From(baseModel.Tokenizer, text);
        using Comparison comparison = new(baseModel, text, options, new TrainingDisplay(console));
        string before = Introduce(console, baseModel, comparison, sample);

        List<MethodResult> results = [];
        MergeResult? merged = null;
        string after = "";
        string adapterFolder = Path.Combine(options.Output, "dora-adapter");
        foreach (FineTuningMethod method in FineTuningMethod.All(options))
        {
            using AdaptationRun run = comparison.Run(method);
            results.Add(run.Result);
            if (method.Adapter is { UseDora: true } && run.Adapted is { } adapted)
            {
                after = sample.Continue(run.Model);
                adapted.Save(adapterFolder);
                merged = CheckMerge(baseModel, adapterFolder, run.Model, comparison.Training, options.Seed);
            }
        }

        string plot = Path.Combine(options.Output, "loss.png");
        ResultTable.Print(console, results);
        LossPlot.Write(plot, results);
        PrintSamples(console, before, after);
        console.WriteLine($"Loss plot: {plot}");
        console.WriteLine($"DoRA adapter: {adapterFolder}");
        PrintMerge(console, merged!);
        if (options.Json is { } json)
        {
            ResultFile.Write(json, results, merged!);
        }

        return merged!.Passed ? 0 : ChecksFailed;
    }
}
