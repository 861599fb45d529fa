using DoraSharp.Transformers;

namespace DoraSharp.Experiments.Quantization;

/// <summary>A way to adapt a model.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Adapter">The adapter to inject; null trains the model's own weights.</param>
/// <param name="Quantization">How the base is quantized first; null leaves it dense.</param>
internal sealed record FineTuning(string Name, LoraOptions? Adapter, ModelQuantizationOptions? Quantization)
{
    /// <summary>Full fine-tuning moves every weight directly and takes a lower rate.</summary>
    private const double RateOfFull = 1.0 / 3;

    /// <summary>The methods to compare.</summary>
    public static IReadOnlyList<FineTuning> All(int rank)
    {
        LoraOptions lora = new() { Rank = rank, Alpha = 2 * rank, TargetModules = TargetModules.AllLinear };
        LoraOptions dora = lora with { UseDora = true };
        ModelQuantizationOptions nf4 = new();
        return [new("full", null, null), new("LoRA", lora, null), new("DoRA", dora, null), new("QLoRA", lora, nf4), new("QDoRA", dora, nf4)];
    }

    /// <summary>The method's own learning rate for one of the sweep.</summary>
    public double Rate(double rate) => Adapter is null ? rate * RateOfFull : rate;

    /// <summary>Makes the model what the method trains.</summary>
    public AdaptedModel? Prepare(LlamaForCausalLM model)
    {
        if (Quantization is { } quantization)
        {
            model.Quantize(quantization);
        }

        return Adapter is null ? null : AdapterInjector.Inject(model, Adapter);
    }
}
