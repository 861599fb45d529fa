namespace DoraSharp;

/// <summary>The result of matching.</summary>
internal sealed record TargetMatch
{
    /// <summary>The places to adapt, in model order.</summary>
    public required IReadOnlyList<TargetSite> Sites { get; init; }

    /// <summary>The paths of modules that are trained and saved whole.</summary>
    public required IReadOnlyList<string> ModulesToSave { get; init; }

    /// <summary>The embeddings of which rows train.</summary>
    public required IReadOnlyList<TokenSite> TrainableTokens { get; init; }

    /// <summary>The full names of the base's biases that train.</summary>
    public required IReadOnlyList<string> TrainedBiases { get; init; }

    /// <summary>Entries of the options that meant nothing.</summary>
    public required IReadOnlyList<UnmatchedEntry> Unmatched { get; init; }

    /// <summary>What PEFT would refuse.</summary>
    public required IReadOnlyList<PeftRefusal> BeyondPeft { get; init; }

    /// <summary>The options as PEFT would save them.</summary>
    public required LoraOptions RewrittenOptions { get; init; }

    /// <summary>The number of scalars that train.</summary>
    public required long TrainableParameterCount { get; init; }
}
