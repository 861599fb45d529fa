namespace DoraSharp;

/// <summary>Options made ready for a model: what they leave to the model is filled in.</summary>
/// <param name="Options">The options as PEFT would save them.</param>
internal sealed record PreparedTargets(LoraOptions Options)
{
    /// <summary>The paths that all-linear stands for; <see langword="null"/> for other targets.</summary>
    public IReadOnlySet<string>? ExactPaths { get; init; }

    /// <summary>Modules that take part in the input embedding's adapter, since their weights are one.</summary>
    public IReadOnlyList<string> TiedTargets { get; init; } = [];

    /// <summary>Modules that take part in the input embedding's saved copy.</summary>
    public IReadOnlyList<string> TiedSaves { get; init; } = [];

    /// <summary>Names of modules that became parameters.</summary>
    public IReadOnlyList<string> RewrittenNames { get; init; } = [];
}
