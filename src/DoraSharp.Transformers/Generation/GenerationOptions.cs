namespace DoraSharp.Transformers;

/// <summary>How <see cref="LlamaForCausalLM.Generate"/> continues a text. Greedy unless <see cref="Temperature"/> is set.</summary>
/// <remarks>The filters and their order, temperature, top-k, top-p, are those of transformers' <c>generate</c>.</remarks>
public sealed record GenerationOptions
{
    /// <summary>The most tokens to add.</summary>
    /// <value>0 or more; the default is 64.</value>
    public int MaxNewTokens
    {
        get;
        init => field = value >= 0 ? value : throw new ArgumentOutOfRangeException(nameof(MaxNewTokens), value, "MaxNewTokens must not be negative.");
    } = 64;

    /// <summary>What logits are divided by before a token is drawn.</summary>
    /// <value>0, the default, always takes the most probable token; 1 draws from the model's distribution.</value>
    public double Temperature
    {
        get;
        init => field = double.IsFinite(value) && value >= 0 ? value : throw new ArgumentOutOfRangeException(nameof(Temperature), value, "Temperature must be finite and not negative.");
    }

    /// <summary>Draws among this many of the most probable tokens.</summary>
    /// <value><see langword="null"/>, the default, keeps all.</value>
    public int? TopK
    {
        get;
        init => field = value is null or > 0 ? value : throw new ArgumentOutOfRangeException(nameof(TopK), value, "TopK must be 1 or more.");
    }

    /// <summary>Draws among the fewest most probable tokens whose probabilities sum to this.</summary>
    /// <value>Above 0, at most 1; the default is 1, which keeps all.</value>
    public double TopP
    {
        get;
        init => field = value is > 0 and <= 1 ? value : throw new ArgumentOutOfRangeException(nameof(TopP), value, "TopP must be above 0 and at most 1.");
    } = 1;

    /// <summary>The seed of the draws: the same seed, prompt and model give the same text.</summary>
    /// <value>0 by default.</value>
    public int Seed { get; init; }

    /// <summary>The tokens that end the text; the one that ends it is part of the result.</summary>
    /// <value><see langword="null"/>, the default, takes the model's <see cref="LlamaConfig.EosTokenIds"/>; empty never stops early.</value>
    public IReadOnlyList<long>? EosTokenIds { get; init; }
}
