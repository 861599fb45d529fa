namespace DoraSharp;

/// <summary>What a tensor of a PEFT file is to its module: the end of its name.</summary>
internal static class PeftPart
{
    public const string LoraA = "lora_A.weight";
    public const string LoraB = "lora_B.weight";
    public const string LoraBias = "lora_B.bias";
    public const string EmbeddingA = "lora_embedding_A";
    public const string EmbeddingB = "lora_embedding_B";
    public const string Magnitude = "lora_magnitude_vector";
    public const string VeraB = "vera_lambda_b";
    public const string VeraD = "vera_lambda_d";
    public const string TokenDelta = "token_adapter.trainable_tokens_delta";
    public const string BaseBias = "base_layer.bias";
    public const string BaseWeight = "base_layer.weight";
    public const string ProjectionA = "vera_A";
    public const string ProjectionB = "vera_B";

    private static readonly string[] OfAdaptedModules = [LoraA, LoraB, LoraBias, EmbeddingA, EmbeddingB, Magnitude, VeraB, VeraD];

    /// <summary>The parts that belong to a module, all but the parameters of saved modules.</summary>
    public static IReadOnlyList<string> OfModules { get; } = [.. OfAdaptedModules, TokenDelta, BaseBias, BaseWeight];

    /// <summary>Whether only a module that is adapted has this part.</summary>
    public static bool IsOfAdaptedModule(string part) => OfAdaptedModules.Contains(part);

    /// <summary>Whether the part is an adapter's own, and not a copy of something in the base model.</summary>
    public static bool IsTrained(string part) => OfModules.Contains(part) || IsProjection(part);

    /// <summary>Whether the part is one of the projections that all layers of a VeRA adapter share.</summary>
    public static bool IsProjection(string part) => part is ProjectionA or ProjectionB;
}
