using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A frozen linear layer with adapters: y = V x + b, where V is the effective weight that the active adapters make of W.
/// <see cref="LoraLinear"/> and <see cref="DoraLinear"/> are this layer with a first adapter of their kind.
/// </summary>
/// <remarks>
/// The base layer is wrapped, not copied: its memory is shared with whoever else holds it. A layer that was made
/// around a given base layer does not dispose it; one that an <see cref="AdapterInjector"/> put into a model does,
/// with the model.
/// </remarks>
public class AdaptedLinear : nn.Module<Tensor, Tensor>
{
    private const string NameOfBase = "base_layer";

    [ComponentName(Name = NameOfBase)]
    private readonly Linear baseLayer;
    [ComponentName(Name = "adapters")]
    private readonly AdapterStack adapters;
    private readonly FrozenFlags flags;

    /// <summary>Wraps a layer and freezes it; it carries no adapter yet.</summary>
    /// <param name="baseLayer">The layer, W [out, in].</param>
    /// <param name="ownsBase">Whether disposing this layer disposes the base layer.</param>
    /// <param name="name">The module's name.</param>
    internal AdaptedLinear(Linear baseLayer, bool ownsBase, string name = nameof(AdaptedLinear))
        : base(name)
    {
        ArgumentNullException.ThrowIfNull(baseLayer);
        LoraAdapter.CheckBase(baseLayer);
        this.baseLayer = baseLayer;
        OwnsBase = ownsBase;
        adapters = new AdapterStack(new DenseWeight(baseLayer));
        flags = FrozenFlags.Freeze(baseLayer);
        RegisterComponents();
        train(baseLayer.training);
    }

    /// <summary>The frozen layer, with the weight W [out, in].</summary>
    public Linear BaseLayer => baseLayer;

    /// <summary>The layer's adapters.</summary>
    public AdapterStack Adapters => adapters;

    /// <summary>The number of input features.</summary>
    public long InFeatures => baseLayer.in_features;

    /// <summary>The number of output features.</summary>
    public long OutFeatures => baseLayer.out_features;

    internal bool OwnsBase { get; set; }

    /// <summary>The adapted output.</summary>
    /// <param name="input">x, [in] or [..., in], in the base layer's dtype.</param>
    /// <returns>y, [out] or [..., out], in the base layer's dtype.</returns>
    /// <exception cref="ArgumentException">The last dimension of <paramref name="input"/> is not <see cref="InFeatures"/>.</exception>
    public override Tensor forward(Tensor input)
    {
        ArgumentNullException.ThrowIfNull(input);
        if (input.dim() == 0 || input.shape[^1] != InFeatures)
        {
            throw new ArgumentException($"The layer takes [..., {InFeatures}]; the input is [{string.Join(", ", input.shape)}].", nameof(input));
        }

        return adapters.Apply(input, baseLayer.call(input), ownsOutput: !ModuleInternals.OutputIsSeen(baseLayer, own: 0));
    }

    /// <inheritdoc cref="AdapterStack.Merge(bool)"/>
    public void Merge(bool safe = true) => adapters.Merge(safe);

    /// <inheritdoc cref="AdapterStack.Unmerge"/>
    public void Unmerge() => adapters.Unmerge();

    /// <summary>Gives back the base layer as it is now, merged or not, and disposes this layer.</summary>
    /// <returns>The base layer, which trains again if it did before.</returns>
    public Linear Unload()
    {
        Linear layer = baseLayer;
        OwnsBase = false;
        Dispose();
        flags.Restore();
        return layer;
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing && !OwnsBase)
        {
            // A module disposes its children; this one is somebody else's.
            _internal_submodules.Remove(NameOfBase);
            OwnsBase = true;
        }

        base.Dispose(disposing);
    }
}
