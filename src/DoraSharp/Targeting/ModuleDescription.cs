namespace DoraSharp;

/// <summary>What matching knows of a module: no tensors.</summary>
/// <param name="Path">The module's first path; empty for the model itself.</param>
/// <param name="TypeName">Its type, for errors.</param>
/// <param name="Kind">The kind of layer that it is; <see cref="LayerKind.None"/> for every other module.</param>
internal sealed record ModuleDescription(string Path, string TypeName, LayerKind Kind)
{
    /// <summary>The number of inputs: features, channels, or an embedding's rows; an attention's width.</summary>
    public long In { get; init; }

    /// <summary>The number of outputs: features, channels, or an embedding's dimension; an attention's width.</summary>
    public long Out { get; init; }

    /// <summary>A convolution's kernel.</summary>
    public IReadOnlyList<long> Kernel { get; init; } = [];

    /// <summary>A convolution's groups.</summary>
    public long Groups { get; init; } = 1;

    /// <summary>The features of an attention's keys, where they have a weight of their own.</summary>
    public long? KeyFeatures { get; init; }

    /// <summary>The features of an attention's values, where they have a weight of their own.</summary>
    public long? ValueFeatures { get; init; }

    /// <summary>The module's own parameters in order. A parametrized one counts, with the shape that it is computed to.</summary>
    public IReadOnlyList<ParameterDescription> Parameters { get; init; } = [];

    /// <summary>Whether parameters are computed from others, as by weight normalisation.</summary>
    public bool IsParametrized { get; init; }

    /// <summary>Whether parameters of three dimensions are [experts, in, out] rather than [experts, out, in].</summary>
    public bool HasTransposedExperts { get; init; }

    /// <summary>Whether it only holds other modules, and is never called itself: a list or a dictionary.</summary>
    public bool IsContainer { get; init; }

    /// <summary>Further paths of the same module.</summary>
    public IReadOnlyList<string> Aliases { get; init; } = [];

    /// <summary>A parameter's path in the model.</summary>
    public string FullName(ParameterDescription parameter) => Path.Length == 0 ? parameter.Name : $"{Path}.{parameter.Name}";
}
