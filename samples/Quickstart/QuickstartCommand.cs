using System.Globalization;
using DoraSharp.Transformers;
using Spectre.Console;
using static TorchSharp.torch;

namespace DoraSharp.Samples.Quickstart;

/// <summary>The whole way once: load, adapt by each method, compare, save the last adapter, load, merge, check.</summary>
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
        CheckRank(options.Rank, baseModel.Config);
        TextSplit text = AdaptationText.Read(options.Data);
        OutputPath.RequireFolder("--output", options.Output);
        IReadOnlyList<FineTuningMethod> methods = FineTuningMethod.Chosen(options);
        FineTuningMethod? saved = methods.LastOrDefault(method => method.Adapter is not null);
        string adapterFolder = Path.Combine(options.Output, $"{saved?.Id}-adapter");
        string plot = Path.Combine(options.Output, "loss.png");
        if (saved is not null)
        {
            OutputPath.RequireFolder("--output", adapterFolder);
        }

        OutputPath.RequireFile("--output", plot);
        if (options.Json is not null)
        {
            OutputPath.RequireFile("--json", options.Json);
        }

        using Comparison comparison = new(baseModel, text, options, new TrainingDisplay(console));
        TextSample sample = TextSample.From(baseModel, text);
        string before = Introduce(console, baseModel, comparison, sample);

        List<MethodResult> results = [];
        MergeResult? merged = null;
        string after = "";
        foreach (FineTuningMethod method in methods)
        {
            using AdaptationRun run = comparison.Run(method);
            results.Add(run.Result);
            after = method == saved || saved is null ? sample.Continue(run.Model) : after;
            if (method == saved && run.Adapted is { } adapted)
            {
                PeftMetadata about = new() { BaseModelNameOrPath = baseModel.Name };
                OutputPath.Explain("--output", adapterFolder, () => adapted.Save(adapterFolder, about));
                merged = CheckMerge(baseModel, method, adapterFolder, run.Model, comparison.Training, options.Seed);
            }
        }

        ResultTable.Print(console, results);
        LossPlot.Write(plot, results);
        PrintSamples(console, before, (saved ?? methods[^1]).Title, after);
        console.WriteLine($"Loss plot: {plot}");
        if (merged is not null)
        {
            console.WriteLine($"{saved!.Title} adapter: {adapterFolder}");
            PrintMerge(console, merged);
        }

        if (options.Json is not null)
        {
            ResultFile.Write(options.Json, results, merged);
        }

        return merged?.Passed == false ? ChecksFailed : 0;
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

    private static void CheckRank(int rank, LlamaConfig shape)
    {
        if (rank > shape.HiddenSize)
        {
            throw new UserException($"--rank {rank} is more than the model's hidden size, {shape.HiddenSize}: an adapter of that rank saves nothing");
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
    private static MergeResult CheckMerge(BaseModel baseModel, FineTuningMethod method, string adapterFolder, LlamaForCausalLM trained, TokenStream text, int seed)
    {
        using IDisposable noGradient = no_grad();
        using Tensor probe = text.RandomWindows(new Random(seed), ProbeRows, Math.Min(ProbeTokens, baseModel.Config.MaxPositions));
        using Tensor logits = trained.call(probe);
        return MergeCheck.Run(baseModel, method, adapterFolder, probe, logits);
    }

    private static void PrintSamples(IAnsiConsole console, string before, string title, string after)
    {
        foreach ((string heading, string text) in new[] { ("Before", before), ($"After {title}", after) })
        {
            console.WriteLine();
            console.WriteLine($"{heading}: {text}");
        }

        console.WriteLine();
    }

    private static void PrintMerge(IAnsiConsole console, MergeResult result)
    {
        CultureInfo culture = CultureInfo.InvariantCulture;
        Check(console, result.ReloadError <= MergeResult.Tolerance, string.Create(culture, $"the saved adapter in a fresh model gives the trained model's logits (relative error {result.ReloadError:0.0e+0})"));
        Check(console, result.MaxRelativeError <= MergeResult.Tolerance, string.Create(culture, $"the merged model gives the adapted model's logits (relative error {result.MaxRelativeError:0.0e+0})"));
        Check(console, result.IsPlain, "the merged model has the base model's modules and parameters, nothing else");
        string ratio = string.Create(culture, $"(time ratio {result.TimeRatio:F2})");
        console.WriteLine(result.TimeRatio <= MergeResult.SlowestRatio
            ? $"       the merged model runs at the base model's speed {ratio}"
            : $"       the merged model was slower than the base model {ratio}: the machine may be busy with other work");
    }

    private static void Check(IAnsiConsole console, bool passed, string what) =>
        console.MarkupLine($"{(passed ? "[green]ok[/]    " : "[red]FAILED[/]")} {Markup.Escape(what)}");
}
