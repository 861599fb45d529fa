using TorchSharp.Modules;

namespace DoraSharp;

/// <summary>
/// A frozen linear layer with adapters: y = V x + b, where V is the effective weight that the active adapters make of W.
/// <see cref="LoraLinear"/> and <see cref="DoraLinear"/> are this layer with a first adapter of their kind.
/// </summary>
public class AdaptedLinear : AdaptedLayer
{
    /// <summary>Wraps a layer and freezes it; it carries no adapter yet.</summary>
    internal AdaptedLinear(Linear baseLayer, AdapterOptions options, bool ownsBase, string name = nameof(AdaptedLinear))
        : base(baseLayer, options, ownsBase, name) => BaseLayer = baseLayer;

    /// <summary>The frozen layer, with the weight W [out, in].</summary>
    public Linear BaseLayer { get; }

    /// <summary>The number of input features.</summary>
    public long InFeatures => BaseLayer.in_features;

    /// <summary>The number of output features.</summary>
    public long OutFeatures => BaseLayer.out_features;

    /// <inheritdoc cref="AdaptedLayer.Unload"/>
    public new Linear Unload() => (Linear)base.Unload();
}
