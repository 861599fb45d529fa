using DoraSharp.Transformers;

namespace DoraSharp.Samples.Quickstart;

/// <summary>A way to adapt a model.</summary>
/// <param name="Id">Its name for scripts.</param>
/// <param name="Title">Its name for people.</param>
/// <param name="LearningRate">AdamW's learning rate.</param>
/// <param name="Adapter">The adapter to inject; null trains the model's own weights.</param>
/// <param name="IsQuantized">Whether the adapter is trained over 4-bit weights.</param>
public sealed record FineTuningMethod(string Id, string Title, double LearningRate, LoraOptions? Adapter, bool IsQuantized = false)
{
    /// <summary>The methods that the options ask for.</summary>
    /// <exception cref="UserException">They ask for one that there is not.</exception>
    public static IReadOnlyList<FineTuningMethod> Chosen(QuickstartOptions options)
    {
        FineTuningMethod[] all = All(options);
        return
        [
            .. options.Methods.Distinct().Select(id => Array.Find(all, method => method.Id == id)
                ?? throw new UserException($"--method {id}: there is no such method; there are {string.Join(", ", all.Select(method => method.Id))}")),
        ];
    }

    /// <summary>Loads the base model anew, in 4 bits if the method is for that.</summary>
    public LlamaForCausalLM Load(BaseModel baseModel)
    {
        LlamaForCausalLM model = baseModel.LoadWeights();
        if (IsQuantized)
        {
            model.Quantize();
        }

        return model;
    }

    /// <summary>Puts the method's adapter into the model and freezes the rest, if it has one.</summary>
    public AdaptedModel? Prepare(LlamaForCausalLM model) => Adapter is null ? null : AdapterInjector.Inject(model, Adapter);

    private static FineTuningMethod[] All(QuickstartOptions options)
    {
        LoraOptions lora = new() { Rank = options.Rank, Alpha = 2 * options.Rank, TargetModules = TargetModules.AllLinear, TaskType = "CAUSAL_LM" };
        LoraOptions dora = lora with { UseDora = true };
        return
        [
            new("full", "Full fine-tuning", options.LearningRate / 3, null),
            new("lora", "LoRA", options.LearningRate, lora),
            new("dora", "DoRA", options.LearningRate, dora),
            new("qlora", "QLoRA", options.LearningRate, lora, IsQuantized: true),
            new("qdora", "QDoRA", options.LearningRate, dora, IsQuantized: true),
        ];
    }
}
