using System.Globalization;
using DoraSharp.Transformers;
using Spectre.Console;
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
        CreateFolder("--output", options.Output);
        if (options.Json is { } figures)
        {
            CreateFolder("--json", Path.GetDirectoryName(Path.GetFullPath(figures))!);
        }

        using Comparison comparison = new(baseModel, text, options, new TrainingDisplay(console));
        TextSample sample = TextSample.From(baseModel.Tokenizer, text);
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
        if (options.Json is not null)
        {
            ResultFile.Write(options.Json, results, merged!);
        }

        return merged!.Passed ? 0 : ChecksFailed;
    }

    private static void CheckNumbers(QuickstartOptions options)
    {
        if (options.Steps < 1 || options.Rank < 1)
        {
            throw new UserException($"--steps {options.Steps} and --rank {options.Rank} must be 1 or more");
        }

        if (!double.IsFinite(options.LearningRate) || options.LearningRate <= 0)
        {
            throw new UserException($"--learning-rate {options.LearningRate} must be a number above 0");
        }
    }

    private static void CreateFolder(string option, string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserException($"{option} {folder}: {e.Message}", e);
        }
    }

    /// <summary>Says what is adapted to what; returns what the untouched model writes.</summary>
    private static string Introduce(IAnsiConsole console, BaseModel baseModel, Comparison comparison, TextSample sample)
    {
        using LlamaForCausalLM model = baseModel.LoadWeights();
        LlamaConfig shape = baseModel.Config;
        console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"Llama of {model.parameters().Sum(parameter => parameter.numel()):N0} parameters ({shape.LayerCount} layers, width {shape.HiddenSize}), {comparison.Training.Length:N0} tokens of text to adapt to"));
        return sample.Continue(model);
    }

    /// <summary>Compares a fresh model that loads the saved adapter with the trained one.</summary>
    private static MergeResult CheckMerge(BaseModel baseModel, string adapterFolder, LlamaForCausalLM trained, TokenStream text, int seed)
    {
        using IDisposable noGradient = no_grad();
        using Tensor probe = text.RandomWindows(new Random(seed), ProbeRows, Math.Min(ProbeTokens, baseModel.Config.MaxPositions));
        using Tensor logits = trained.call(probe);
        return MergeCheck.Run(baseModel, adapterFolder, probe, logits);
    }

    private static void PrintSamples(IAnsiConsole console, string before, string after)
    {
        foreach ((string title, string text) in new[] { ("Before", before), ("After DoRA", after) })
        {
            console.WriteLine();
            console.WriteLine($"{title}: {text}");
        }

        console.WriteLine();
    }

    private static void PrintMerge(IAnsiConsole console, MergeResult result)
    {
        CultureInfo culture = CultureInfo.InvariantCulture;
        Check(console, result.ReloadError <= MergeResult.Tolerance, string.Create(culture, $"the saved adapter in a fresh model gives the trained model's logits (relative error {result.ReloadError:0.0e+0})"));
        Check(console, result.MaxRelativeError <= MergeResult.Tolerance, string.Create(culture, $"the merged model gives the adapted model's logits (relative error {result.MaxRelativeError:0.0e+0})"));
        Check(console, result.IsPlain, "the merged model has the base model's modules and parameters, nothing else");
        Check(console, result.TimeRatio <= MergeResult.SlowestRatio, string.Create(culture, $"the merged model runs at the base model's speed (time ratio {result.TimeRatio:F2})"));
    }

    private static void Check(IAnsiConsole console, bool passed, string what) =>
        console.MarkupLine($"{(passed ? "[green]ok[/]    " : "[red]FAILED[/]")} {Markup.Escape(what)}");
}
