using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A frozen linear layer with adapters: y = V x + b, where V is the effective weight that the active adapters make of W.
/// <see cref="LoraLinear"/> and <see cref="DoraLinear"/> are this layer with a first adapter of their kind.
/// </summary>
public class AdaptedLinear : AdaptedLayer
{
    /// <summary>Wraps a <c>Linear</c> or a <see cref="QuantizedLinear"/> and freezes it; it carries no adapter yet.</summary>
    internal AdaptedLinear(nn.Module<Tensor, Tensor> baseLayer, AdapterOptions options, bool ownsBase, string name = nameof(AdaptedLinear))
        : base(baseLayer, options, ownsBase, name)
    {
    }

    /// <summary>The number of input features.</summary>
    public long InFeatures => Adapters.Weight.Inputs;

    /// <summary>The number of output features.</summary>
    public long OutFeatures => Adapters.Weight.Outputs;

    /// <summary>Throws unless a layer is of a kind that this one wraps.</summary>
    private protected static nn.Module<Tensor, Tensor> Checked(nn.Module<Tensor, Tensor> layer)
    {
        ArgumentNullException.ThrowIfNull(layer);
        return LayerKinds.Of(layer) == LayerKind.Linear
            ? layer
            : throw new ArgumentException($"This wraps a Linear or a {nameof(QuantizedLinear)}; a {layer.GetType().Name} is wrapped by {nameof(AdaptedLayer)}.{nameof(From)}.", nameof(layer));
    }
}
