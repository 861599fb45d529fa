using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A linear layer with a first adapter "default" of the kind DoRA (arXiv 2402.09353): y = g ⊙ (W x + s·B·A drop(x)) + b, g = m/‖W + s·B·A‖ per output row.</summary>
/// <remarks>Further adapters of either kind can be added: see <see cref="AdaptedLayer.Adapters"/>.</remarks>
public sealed class DoraLinear : AdaptedLinear
{
    /// <summary>Makes a layer with a fresh base: TorchSharp's own initial values, frozen.</summary>
    /// <param name="inFeatures">The number of input features.</param>
    /// <param name="outFeatures">The number of output features.</param>
    /// <param name="options">The adapter's options; <see langword="null"/> for the defaults.</param>
    /// <param name="hasBias">Whether the base has a bias.</param>
    /// <param name="device">Where the layer lives; TorchSharp's default if <see langword="null"/>.</param>
    /// <param name="dtype">The base's element type; TorchSharp's default if <see langword="null"/>.</param>
    /// <exception cref="NotSupportedException">The layer's dtype is none of float64, float32, bfloat16 and float16.</exception>
    public DoraLinear(long inFeatures, long outFeatures, LoraOptions? options = null, bool hasBias = true, Device? device = null, ScalarType? dtype = null)
        : this(nn.Linear(inFeatures, outFeatures, hasBias, device, dtype), Checked(options), ownsBase: true)
    {
    }

    private DoraLinear(nn.Module<Tensor, Tensor> baseLayer, LoraOptions options, bool ownsBase)
        : base(baseLayer, options, ownsBase, nameof(DoraLinear))
    {
        Adapters.Add(AdapterName.Default, options);
    }

    /// <summary>Wraps a layer, sharing its memory; the layer is frozen, and is not disposed with this one. Over a quantized layer this is QDoRA.</summary>
    /// <param name="layer">The base layer, W [out, in]: a <c>Linear</c> or a <see cref="QuantizedLinear"/>.</param>
    /// <param name="options">The adapter's options; <see langword="null"/> for the defaults.</param>
    /// <exception cref="ArgumentException">The layer is of another kind.</exception>
    /// <exception cref="NotSupportedException">The layer's dtype is none of float64, float32, bfloat16 and float16.</exception>
    public static new DoraLinear From(nn.Module<Tensor, Tensor> layer, LoraOptions? options = null) => new(Checked(layer), Checked(options), ownsBase: false);

    private static LoraOptions Checked(LoraOptions? options) => (options ?? new()) with { UseDora = true };
}
