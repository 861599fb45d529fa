using DoraSharp.Transformers;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Samples.Quickstart;

/// <summary>Adapts the same base model to the same text with the same batches, by one method after the other.</summary>
public sealed class Comparison : IDisposable
{
    private const int BatchSize = 8;
    private const int HeldOutWindows = 48;
    private const int LongestWindow = 128;

    private readonly BaseModel baseModel;
    private readonly QuickstartOptions options;
    private readonly TrainingDisplay display;
    private readonly HeldOutText heldOut;
    private readonly int windowLength;

    /// <summary>Prepares the text.</summary>
    /// <exception cref="UserException">The text is too short for the model's windows.</exception>
    public Comparison(BaseModel baseModel, TextSplit text, QuickstartOptions options, TrainingDisplay display)
    {
        (this.baseModel, this.options, this.display) = (baseModel, options, display);
        windowLength = Math.Min(LongestWindow, baseModel.Config.MaxPositions);
        Training = baseModel.Encode(text.Training);
        Training.RequireWindow(windowLength);
        heldOut = new HeldOutText(baseModel.Encode(text.HeldOut), HeldOutWindows, windowLength);
        WarmUp();
    }

    /// <summary>The tokens to train on.</summary>
    public TokenStream Training { get; }

    /// <summary>Loads the base model anew and adapts it.</summary>
    public AdaptationRun Run(FineTuningMethod method)
    {
        using PeakMemory memory = new();
        LlamaForCausalLM model = method.Load(baseModel);
        manual_seed(options.Seed);
        AdaptedModel? adapted = method.Prepare(model);
        Parameter[] parameters = [.. adapted?.TrainableParameters() ?? model.parameters()];
        TrainingCurve curve = display.Show(
            method.Title, options.Steps, report => Trainer.Train(model, parameters, Training, heldOut, Recipe(method), report));
        return new AdaptationRun(model, adapted, new MethodResult(method, parameters.Sum(parameter => parameter.numel()), curve, memory.Megabytes));
    }

    /// <inheritdoc/>
    public void Dispose() => heldOut.Dispose();

    /// <summary>Makes the native libraries set up what they set up once, so that the first method doesn't pay for all.</summary>
    private void WarmUp()
    {
        using LlamaForCausalLM model = baseModel.LoadWeights();
        using DisposeScope scope = NewDisposeScope();
        Tensor batch = Training.RandomWindows(new Random(options.Seed), BatchSize, windowLength);
        CausalLanguageModel.Loss(model.call(batch), batch).backward();
    }

    private TrainingOptions Recipe(FineTuningMethod method) => new()
    {
        Steps = options.Steps,
        BatchSize = BatchSize,
        WindowLength = windowLength,
        LearningRate = method.LearningRate,
        Schedule = LearningRateSchedule.Linear(warmup: Math.Min(20, options.Steps / 5), options.Steps),
        Seed = options.Seed,
    };
}
