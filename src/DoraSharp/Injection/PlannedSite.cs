using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A layer, or a parameter of a module, that is going to be adapted.</summary>
/// <param name="Node">The layer's place in the model.</param>
/// <param name="ParameterName">The parameter that is adapted itself; <see langword="null"/> for a layer.</param>
/// <param name="DiskPath">Its path in the names of a file's tensors.</param>
/// <param name="Options">The options that hold there.</param>
/// <param name="Slots">Everything that holds the layer.</param>
internal sealed record PlannedSite(ModuleNode Node, string? ParameterName, string DiskPath, AdapterOptions Options, IReadOnlyList<ModuleSlot> Slots)
{
    /// <summary>The rows that train, where the site is an embedding of which only those do.</summary>
    public IReadOnlyList<int>? Tokens { get; init; }

    /// <summary>The path of the embedding whose adapter is used here as well, since both weights are one.</summary>
    public string? TiedTo { get; init; }

    /// <summary>The options of an attention, where they were given.</summary>
    public AttentionOptions? Attention { get; init; }

    /// <summary>The layer.</summary>
    public nn.Module Layer => Node.Module;

    /// <summary>The slots whose declared type cannot hold a wrapper.</summary>
    public IEnumerable<ModuleSlot> SealedSlots =>
        ParameterName is null ? Slots.Where(slot => !slot.DeclaredType.IsAssignableFrom(LayerKinds.WrapperOf(Layer))) : [];

    /// <summary>The path as errors and reports give it.</summary>
    public string Path => ParameterName is null ? Node.Path : $"{Node.Path}.{ParameterName}";
}
