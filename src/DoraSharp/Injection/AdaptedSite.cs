namespace DoraSharp;

/// <summary>A layer that an injector adapted.</summary>
/// <param name="Path">The layer's path in the model, such as <c>model.layers.0.self_attn.q_proj</c>.</param>
/// <param name="Aliases">Further paths of the same layer.</param>
/// <param name="Kind">The kind of layer.</param>
/// <param name="Route">How the adapter gets at it.</param>
/// <param name="InFeatures">The number of input features.</param>
/// <param name="OutFeatures">The number of output features.</param>
/// <param name="Options">The options that hold here: rank and alpha patterns resolved.</param>
/// <param name="TrainableParameterCount">The number of scalars that train here.</param>
public sealed record AdaptedSite(
    string Path,
    IReadOnlyList<string> Aliases,
    LayerKind Kind,
    InjectionRoute Route,
    long InFeatures,
    long OutFeatures,
    AdapterOptions Options,
    long TrainableParameterCount);
