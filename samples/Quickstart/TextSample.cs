using DoraSharp.Transformers;

namespace DoraSharp.Samples.Quickstart;

/// <summary>Lets models continue the same words, to show what adapting them changed.</summary>
public sealed class TextSample(BaseModel baseModel, string prompt)
{
    private const int PromptWords = 4;

    private static readonly GenerationOptions Options = new() { MaxNewTokens = 60, Temperature = 0.7, TopP = 0.95, Seed = 1 };

    /// <summary>Takes the first words of held-out text.</summary>
    public static TextSample From(BaseModel baseModel, TextSplit text) =>
        new(baseModel, string.Join(' ', text.HeldOut[text.HeldOut.Count / 2].Text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Take(PromptWords)));

    /// <summary>The words that are continued.</summary>
    public string Prompt => prompt;

    /// <summary>The prompt and what the model makes of it.</summary>
    public string Continue(LlamaForCausalLM model) => baseModel.Continue(model, prompt, Options).Trim();
}
