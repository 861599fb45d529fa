namespace DoraSharp;

/// <summary>Why options do not fit a model.</summary>
internal enum TargetingError
{
    /// <summary>No module matches, or an entry matches none.</summary>
    NoMatch,

    /// <summary>Some modules are excluded, and no other matches.</summary>
    NoMatchAfterExclusion,

    /// <summary>Every module is excluded.</summary>
    AllExcluded,

    /// <summary>The options name neither modules nor parameters.</summary>
    NothingRequested,

    /// <summary>The model's type has no default targets, or is not known.</summary>
    NoDefaultTargets,

    /// <summary>A match is no layer that can be adapted.</summary>
    UnsupportedModule,

    /// <summary>A layer of this name cannot be adapted in models of this type.</summary>
    RefusedByName,

    /// <summary>A convolution's groups do not divide the rank.</summary>
    RankNotDivisibleByGroups,

    /// <summary>Layers are chosen by index, but the targets are a pattern.</summary>
    LayersWithString,

    /// <summary>A layers pattern is given without indices.</summary>
    LayersPatternAlone,

    /// <summary>Two options exclude each other, or one excludes a layer's kind.</summary>
    UnsupportedCombination,

    /// <summary>A parameter of another shape than a matrix or a stack of matrices, or of the model itself.</summary>
    UnsupportedParameter,

    /// <summary>A parameter of a layer that is itself adapted.</summary>
    ParameterOfAdaptedModule,

    /// <summary>Only one of two weights that the model holds as one.</summary>
    HalfOfAFusedPair,

    /// <summary>A module that cannot be saved.</summary>
    ModulesToSaveRefused,

    /// <summary>A module to save is named like the adapter.</summary>
    AdapterNameClash,

    /// <summary>A pattern is no regular expression, or takes too many steps.</summary>
    InvalidRegex,
}
