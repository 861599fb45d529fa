using DoraSharp.Transformers;

namespace DoraSharp.Samples.Quickstart;

/// <summary>A way to adapt a model.</summary>
/// <param name="Id">Its name for scripts.</param>
/// <param name="Title">Its name for people.</param>
/// <param name="LearningRate">AdamW's learning rate.</param>
/// <param name="Adapter">The adapter to inject; null trains the model's own weights.</param>
public sealed record FineTuningMethod(string Id, string Title, double LearningRate, LoraOptions? Adapter)
{
    /// <summary>The methods to compare.</summary>
    public static IReadOnlyList<FineTuningMethod> All(QuickstartOptions options)
    {
        LoraOptions lora = new() { Rank = options.Rank, Alpha = 2 * options.Rank, TargetModules = TargetModules.AllLinear, TaskType = "CAUSAL_LM" };
        return
        [
            new("full", "Full fine-tuning", options.LearningRate / 3, null),
            new("lora", "LoRA", options.LearningRate, lora),
            new("dora", "DoRA", options.LearningRate, lora with { UseDora = true }),
        ];
    }

    /// <summary>Puts the method's adapter into the model and freezes the rest, if it has one.</summary>
    public AdaptedModel? Prepare(LlamaForCausalLM model) => Adapter is null ? null : AdapterInjector.Inject(model, Adapter);
}
