using DoraSharp.Transformers;

namespace DoraSharp.Samples.Quickstart;

/// <summary>A model that a method has adapted, with what the method reached.</summary>
public sealed class AdaptationRun(LlamaForCausalLM model, AdaptedModel? adapted, MethodResult result) : IDisposable
{
    /// <summary>The trained model.</summary>
    public LlamaForCausalLM Model => model;

    /// <summary>The model's adapters; null after full fine-tuning.</summary>
    public AdaptedModel? Adapted => adapted;

    /// <summary>Losses and costs.</summary>
    public MethodResult Result => result;

    /// <inheritdoc/>
    public void Dispose()
    {
        adapted?.Dispose();
        model.Dispose();
    }
}
