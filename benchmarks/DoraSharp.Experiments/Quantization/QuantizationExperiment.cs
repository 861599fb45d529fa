using System.Text.Json;
using DoraSharp.Samples;
using DoraSharp.Transformers;
using Spectre.Console;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Experiments.Quantization;

/// <summary>What quantizing a model costs, and what fine-tuning on top of it reaches.</summary>
internal sealed class QuantizationExperiment : IDisposable
{
    private const double HeldOutFraction = 0.1;
    private const int HeldOutWindows = 48;
    private const int BatchSize = 8;
    private const int LongestWindow = 128;
    private const int Warmup = 20;

    private static readonly JsonSerializerOptions Format = new() { WriteIndented = true, NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.AllowNamedFloatingPointLiterals };

    private readonly QuantizationExperimentOptions options;
    private readonly BaseModel baseModel;
    private readonly TokenStream training;
    private readonly HeldOutText heldOut;
    private readonly int window;

    private QuantizationExperiment(QuantizationExperimentOptions options)
    {
        this.options = options;
        baseModel = BaseModel.Open(options.Model);
        window = Math.Min(LongestWindow, baseModel.Config.MaxPositions);
        TextSplit text = TextSplit.HoldOut([new Document(Path.GetFileName(options.Data), TextFile.Read(options.Data))], HeldOutFraction);
        training = baseModel.Encode(text.Training);
        training.RequireWindow(window);
        heldOut = new HeldOutText(baseModel.Encode(text.HeldOut), HeldOutWindows, window);
    }

    /// <summary>Runs everything and prints the tables.</summary>
    /// <returns>The process's exit code.</returns>
    public static int Run(QuantizationExperimentOptions options, IAnsiConsole console)
    {
        using QuantizationExperiment experiment = new(options);
        console.Write(ResultTables.Storages(experiment.Storages()));
        List<FineTuningRun> runs = [];
        foreach (FineTuning method in FineTuning.All(options.Rank))
        {
            foreach (double rate in options.Rates)
            {
                runs.AddRange(Enumerable.Range(1, options.Seeds).Select(seed => experiment.Train(method, method.Rate(rate), seed)));
                console.WriteLine(ResultTables.Line(runs[^options.Seeds..]));
            }
        }

        console.Write(ResultTables.Methods(runs));
        if (options.Json is { } file)
        {
            File.WriteAllBytes(file, JsonSerializer.SerializeToUtf8Bytes(runs, Format));
        }

        return 0;
    }

    public void Dispose() => heldOut.Dispose();

    /// <summary>The held-out loss and the weights' error in each storage, without training.</summary>
    private List<StorageResult> Storages()
    {
        (string Name, QuantizationOptions? Options)[] storages =
        [
            ("dense", null),
            ("NF4, double quantization", new()),
            ("NF4", new() { DoubleQuantization = false }),
            ("NF4, blocks of 128", new() { DoubleQuantization = false, BlockSize = 128 }),
            ("FP4", new() { Format = QuantizationFormat.Fp4, DoubleQuantization = false }),
            ("8 bits, rows", new() { Format = QuantizationFormat.Int8Rows, DoubleQuantization = false }),
        ];
        return [.. storages.Select(storage => Storage(storage.Name, storage.Options))];
    }

    private StorageResult Storage(string name, QuantizationOptions? quantization)
    {
        using LlamaForCausalLM model = baseModel.LoadWeights();
        if (quantization is null)
        {
            return new(name, 32, 0, heldOut.Loss(model));
        }

        Dictionary<string, double> norms = SquaredNorms(model);
        QuantizationReport report = model.Quantize(new() { Quantization = quantization });
        double error = report.Sites.Sum(site => site.RelativeError * site.RelativeError * norms[site.Path]) / report.Sites.Sum(site => norms[site.Path]);
        return new(name, report.BitsPerParameter, Math.Sqrt(error), heldOut.Loss(model));
    }

    private static Dictionary<string, double> SquaredNorms(LlamaForCausalLM model)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        return model.named_modules().Where(static child => child.module is Linear).ToDictionary(
            static child => child.name, static child => ((Linear)child.module).weight.to(ScalarType.Float64).square().sum().item<double>());
    }

    private FineTuningRun Train(FineTuning method, double rate, int seed)
    {
        using PeakMemory memory = new();
        using LlamaForCausalLM model = baseModel.LoadWeights();
        manual_seed(seed);
        using AdaptedModel? adapted = method.Prepare(model);
        Parameter[] parameters = [.. adapted?.TrainableParameters() ?? model.parameters()];
        try
        {
            TrainingCurve curve = Trainer.Train(model, parameters, training, heldOut, Recipe(rate, seed), static _ => { });
            return new(method.Name, rate, seed, curve.Before, curve.After, curve.Duration.TotalSeconds, memory.Megabytes);
        }
        catch (UserException)
        {
            return new(method.Name, rate, seed, double.NaN, double.NaN, double.NaN, memory.Megabytes);
        }
    }

    private TrainingOptions Recipe(double rate, int seed) => new()
    {
        Steps = options.Steps,
        BatchSize = BatchSize,
        WindowLength = window,
        LearningRate = rate,
        Schedule = LearningRateSchedule.Linear(Math.Min(Warmup, options.Steps / 5), options.Steps),
        Seed = seed,
        Evaluations = 1,
    };
}
