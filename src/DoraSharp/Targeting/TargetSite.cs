namespace DoraSharp;

/// <summary>A place that is going to be adapted.</summary>
/// <param name="Path">The layer's path in the model.</param>
/// <param name="Kind">The layer's kind.</param>
/// <param name="Options">The options that hold there: rank and alpha patterns resolved.</param>
/// <param name="Tensors">The adapter's tensors by their names in PEFT's file, behind <see cref="DiskPath"/>, and their shapes.</param>
internal sealed record TargetSite(string Path, LayerKind Kind, LoraOptions Options, IReadOnlyDictionary<string, long[]> Tensors)
{
    /// <summary>The parameter's name, where it alone is adapted.</summary>
    public string? Parameter { get; init; }

    /// <summary>The path of the module: not <see cref="Path"/> where that is one of an attention's weights.</summary>
    public string ModulePath { get; init; } = Path;

    /// <summary>The path in the tensor names of PEFT's file.</summary>
    public string DiskPath { get; init; } = Path;

    /// <summary>The embedding whose adapter, transposed, is used here, since both weights are one.</summary>
    public string? TiedTo { get; init; }

    /// <summary>What rank and alpha patterns are matched against.</summary>
    public string FullName => Parameter is null ? Path : $"{Path}.{Parameter}";
}
