using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Quantizes linear layers, and embeddings that are named, of any TorchSharp model in place: what QLoRA and QDoRA adapt.</summary>
public static class ModelQuantizer
{
    /// <summary>
    /// Puts a <see cref="QuantizedLinear"/> in the place of each targeted <c>Linear</c>, a <see cref="QuantizedEmbedding"/> in that of an <c>Embedding</c>, one after the other: the dense weight
    /// of a layer is freed before the next one is quantized, so that there are never two models in memory.
    /// </summary>
    /// <remarks>
    /// Everything that can be wrong is looked for before anything is changed. Quantized weights are frozen; all other parameters
    /// stay as they are. An optimizer that was made before holds weights that are gone.
    /// </remarks>
    /// <param name="model">The model, without adapters; they come afterwards.</param>
    /// <param name="options">Which layers, and how; <see langword="null"/> for the defaults.</param>
    /// <param name="progress">Gets a report after each layer.</param>
    /// <returns>The layers with their sizes and errors.</returns>
    /// <exception cref="ArgumentException">A target matches nothing or no <c>Linear</c> or <c>Embedding</c>, or a weight cannot be quantized, as it has values that are not finite. Nothing was changed.</exception>
    /// <exception cref="InvalidOperationException">The model is adapted, or something that holds a layer cannot hold a quantized one; the message names it. Nothing was changed.</exception>
    public static QuantizationReport Quantize(this nn.Module model, ModelQuantizationOptions? options = null, IProgress<QuantizationProgress>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        options ??= new();
        QuantizationPlan plan = QuantizationPlan.Make(model, options);
        List<QuantizedSite> sites = [];
        foreach (QuantizationPlan.Site site in plan.Sites)
        {
            sites.Add(Replace(site, options));
            progress?.Report(new(sites[^1], sites.Count, plan.Sites.Count));
        }

        return new(sites.AsReadOnly(), plan.LeftAlone, plan.Untied);
    }

    private static QuantizedSite Replace(QuantizationPlan.Site site, ModelQuantizationOptions options)
    {
        using var noGrad = no_grad();
        Tensor dense = site.Weight;
        QuantizedLayer layer = site.Quantize(options);
        WeightError error = WeightError.Of(layer.Weight, dense);
        QuantizedSite report = new(
            site.Node.Path,
            [.. site.Node.Aliases],
            layer.Weight.Shape[1],
            layer.Weight.Shape[0],
            layer.Weight.Bytes,
            dense.numel() * dense.element_size(),
            error.Norm,
            error.Relative,
            error.Max);
        QuantizedReplacement.Put((nn.Module<Tensor, Tensor>)site.Node.Module, layer, site.Slots, site.IsShared);
        return report;
    }
}
