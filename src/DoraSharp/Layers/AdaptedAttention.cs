using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A frozen <c>MultiheadAttention</c> with adapters of its projections: LoRA, and DoRA with a magnitude per row of each (PEFT refuses DoRA here).
/// </summary>
/// <remarks>
/// Fused projections have one adapter for queries, keys and values, A [r, E], B [3E, r]; where the widths of keys and values
/// differ, each has its own (PEFT refuses that). The output projection has one more. Its update is added once, unless
/// <see cref="LoraOptions.DoublesAttentionOutput"/> asks for PEFT's mistake. An adapter's dropout acts on its input (PEFT
/// ignores it here). The base's own forward, and so its hooks, do not run.
/// </remarks>
public sealed class AdaptedAttention : nn.Module<Tensor, Tensor, Tensor, Tensor?, bool, Tensor?, Tuple<Tensor, Tensor>>, IAdaptedModule
{
    private const string NameOfBase = "base_layer";

    [ComponentName(Name = NameOfBase)]
    private readonly MultiheadAttention baseLayer;
    private readonly AttentionAdapters adapters;
    private readonly FrozenFlags flags;
    private bool ownsBase;

    /// <summary>Wraps an attention and freezes it; it carries no adapter yet.</summary>
    internal AdaptedAttention(MultiheadAttention baseLayer, AttentionOptions? attention, bool ownsBase)
        : base(nameof(AdaptedAttention))
    {
        ArgumentNullException.ThrowIfNull(baseLayer);
        this.baseLayer = baseLayer;
        this.ownsBase = ownsBase;
        adapters = new(baseLayer, attention);
        flags = FrozenFlags.Freeze(baseLayer);
        RegisterComponents();
        foreach (AdaptedWeight weight in adapters.Weights)
        {
            register_module($"{weight.Name}_adapters", weight.Stack);
        }

        train(baseLayer.training);
    }

    /// <summary>The frozen attention.</summary>
    public MultiheadAttention BaseModule => baseLayer;

    /// <summary>The adapters by the projection's name: <c>in_proj</c> (or <c>q_proj</c>, <c>k_proj</c>, <c>v_proj</c>) and <c>out_proj</c>.</summary>
    public IReadOnlyList<KeyValuePair<string, AdapterStack>> Adapters => [.. adapters.Weights.Select(weight => KeyValuePair.Create(weight.Name, weight.Stack))];

    nn.Module IAdaptedModule.BaseModule => baseLayer;

    IReadOnlyList<AdaptedWeight> IAdaptedModule.Weights => adapters.Weights;

    bool IAdaptedModule.OwnsBase
    {
        get => ownsBase;
        set => ownsBase = value;
    }

    /// <summary>Wraps an attention, sharing its memory, with a first adapter "default" per projection. It is frozen, and is not disposed with this one.</summary>
    /// <param name="layer">The attention.</param>
    /// <param name="options">The adapters' options; <see langword="null"/> for the defaults.</param>
    /// <param name="attention">What the attention was made with; <see langword="null"/> to find out by trying it.</param>
    /// <exception cref="NotSupportedException">
    /// The dtype cannot be adapted, the options ask for <see cref="LoraOptions.LoraBias"/>, or what the attention was made with cannot be seen.
    /// </exception>
    public static AdaptedAttention From(MultiheadAttention layer, LoraOptions? options = null, AttentionOptions? attention = null)
    {
        options ??= new();
        if (options.LoraBias)
        {
            throw new NotSupportedException($"{nameof(LoraOptions.LoraBias)} gives B a bias, which an attention's projections cannot have.");
        }

        AdaptedAttention adapted = new(layer, attention, ownsBase: false);
        try
        {
            foreach ((_, AdapterStack stack) in adapted.Adapters)
            {
                stack.Add(AdapterName.Default, options);
            }

            return adapted;
        }
        catch
        {
            adapted.Unload();
            throw;
        }
    }

    /// <summary>The adapted attention.</summary>
    /// <param name="query">The queries, [T, N, E], in the weights' dtype.</param>
    /// <param name="key">The keys, [S, N, key width].</param>
    /// <param name="value">The values, [S, N, value width].</param>
    /// <param name="keyPaddingMask">Bool [N, S], true at keys to leave out; or null.</param>
    /// <param name="needWeights">Whether the attention weights are asked for.</param>
    /// <param name="attentionMask">What is added to the scores, [T, S] or [N·heads, T, S]; or null.</param>
    /// <returns>The output [T, N, E] and the attention weights [N, T, S] averaged over the heads; an invalid tensor where those are not asked for.</returns>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public override Tuple<Tensor, Tensor> forward(Tensor query, Tensor key, Tensor value, Tensor? keyPaddingMask, bool needWeights, Tensor? attentionMask) =>
        adapters.Run(new(query, key, value, keyPaddingMask, needWeights, attentionMask), training);

    /// <inheritdoc cref="forward"/>
    public new Tuple<Tensor, Tensor> call(Tensor query, Tensor key, Tensor value, Tensor? keyPaddingMask = null, bool needWeights = true, Tensor? attentionMask = null) =>
        base.call(query, key, value, keyPaddingMask, needWeights, attentionMask);

    /// <summary>Folds the active adapters into the base weights, all or none. <see cref="Unmerge"/> brings their bits back.</summary>
    /// <param name="safe">Refuse results that are not finite.</param>
    /// <exception cref="InvalidOperationException">The adapters are merged already, or a result is not finite; then nothing was changed.</exception>
    public MergeReport Merge(bool safe = true) => MergePlan.Run(Adapters, safe, requantize: false);

    /// <summary>Restores the base weights bit for bit.</summary>
    /// <exception cref="InvalidOperationException">The adapters are not merged.</exception>
    public void Unmerge()
    {
        foreach ((_, AdapterStack stack) in Adapters)
        {
            stack.Unmerge();
        }
    }

    /// <summary>Gives back the attention as it is now, merged or not, and disposes this layer.</summary>
    /// <returns>The attention, which trains again if it did before.</returns>
    public MultiheadAttention Unload()
    {
        MultiheadAttention layer = baseLayer;
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
