using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A frozen layer with adapters: linear, embedding or convolution. Its output is that of the layer with the effective
/// weight that the active adapters make of its own.
/// </summary>
/// <remarks>
/// The base layer is wrapped, not copied: its memory is shared with whoever else holds it. A layer that was made
/// around a given base layer does not dispose it; one that an <see cref="AdapterInjector"/> put into a model does,
/// with the model.
/// </remarks>
public class AdaptedLayer : nn.Module<Tensor, Tensor>, IAdaptedModule
{
    private const string NameOfBase = "base_layer";

    [ComponentName(Name = NameOfBase)]
    private readonly nn.Module<Tensor, Tensor> baseLayer;
    [ComponentName(Name = "adapters")]
    private readonly AdapterStack adapters;
    private readonly FrozenFlags flags;
    private bool ownsBase;

    /// <summary>Wraps a layer and freezes it; it carries no adapter yet.</summary>
    /// <param name="baseLayer">The layer.</param>
    /// <param name="options">Those of the first adapter, which is not added here.</param>
    /// <param name="ownsBase">Whether disposing this layer disposes the base layer.</param>
    /// <param name="name">The module's name.</param>
    internal AdaptedLayer(nn.Module<Tensor, Tensor> baseLayer, AdapterOptions options, bool ownsBase, string name = nameof(AdaptedLayer))
        : base(name)
    {
        ArgumentNullException.ThrowIfNull(baseLayer);
        this.baseLayer = baseLayer;
        this.ownsBase = ownsBase;
        adapters = LayerKinds.StackFor(baseLayer, options);
        flags = FrozenFlags.Freeze(baseLayer);
        RegisterComponents();
        train(baseLayer.training);
    }

    /// <summary>The frozen layer.</summary>
    public nn.Module<Tensor, Tensor> BaseModule => baseLayer;

    /// <summary>The layer's adapters.</summary>
    public AdapterStack Adapters => adapters;

    nn.Module IAdaptedModule.BaseModule => baseLayer;

    IReadOnlyList<AdaptedWeight> IAdaptedModule.Weights => [new("", "", adapters)];

    bool IAdaptedModule.OwnsBase
    {
        get => ownsBase;
        set => ownsBase = value;
    }

    /// <summary>
    /// Wraps a <c>Linear</c>, <see cref="QuantizedLinear"/>, <see cref="TransposedLinear"/>, <c>Embedding</c>, <see cref="QuantizedEmbedding"/>, <c>Conv1d</c>, <c>Conv2d</c> or <c>Conv3d</c>,
    /// sharing its memory, with a first adapter "default". The layer is frozen, and is not disposed with this one.
    /// </summary>
    /// <param name="layer">The base layer.</param>
    /// <param name="options">The adapter's options; <see langword="null"/> for the defaults.</param>
    /// <exception cref="NotSupportedException">The layer's kind or dtype cannot be adapted.</exception>
    public static AdaptedLayer From(nn.Module<Tensor, Tensor> layer, LoraOptions? options = null)
    {
        options ??= new();
        AdaptedLayer adapted = layer is Linear or QuantizedLinear ? new AdaptedLinear(layer, options, ownsBase: false) : new AdaptedLayer(layer, options, ownsBase: false);
        try
        {
            adapted.adapters.Add(AdapterName.Default, options);
            return adapted;
        }
        catch
        {
            adapted.Unload();
            throw;
        }
    }

    /// <summary>The adapted output.</summary>
    /// <param name="input">What the base layer takes, in its dtype: [..., in], token ids, or [batch, channels, places...].</param>
    /// <returns>What the base layer returns, in shape and dtype.</returns>
    /// <exception cref="ArgumentException">The layer does not take inputs of that shape.</exception>
    public override Tensor forward(Tensor input)
    {
        ArgumentNullException.ThrowIfNull(input);
        adapters.Geometry.CheckInput(input);
        return adapters.Geometry.ForwardWritesWeight
            ? adapters.Apply(input, adapters.Geometry.Product(input, adapters.Weight), ownsOutput: true)
            : adapters.Apply(input, baseLayer.call(input), !ModuleInternals.OutputIsSeen(baseLayer, own: 0), isProduct: !ModuleInternals.InputIsSeen(baseLayer));
    }

    /// <inheritdoc cref="AdapterStack.Merge(bool, bool)"/>
    public MergedLayer Merge(bool safe = true, bool requantize = false) => adapters.Merge(safe, requantize);

    /// <inheritdoc cref="AdapterStack.Unmerge"/>
    public void Unmerge() => adapters.Unmerge();

    /// <summary>Gives back the base layer as it is now, merged or not, and disposes this layer.</summary>
    /// <returns>The base layer, which trains again if it did before.</returns>
    public nn.Module<Tensor, Tensor> Unload()
    {
        nn.Module<Tensor, Tensor> layer = baseLayer;
        ownsBase = false;
        Dispose();
        flags.Restore();
        return layer;
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing && !ownsBase)
        {
            // A module disposes its children; this one is somebody else's.
            _internal_submodules.Remove(NameOfBase);
            ownsBase = true;
        }

        base.Dispose(disposing);
    }
}
