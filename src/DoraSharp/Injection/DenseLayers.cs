using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Quantized layers that a merge made dense for good: plain ones take their places in the model.</summary>
internal static class DenseLayers
{
    /// <summary>Throws where something that holds a quantized layer cannot hold a plain one.</summary>
    /// <param name="layers">The layers that are or will be merged.</param>
    /// <exception cref="InvalidOperationException">Something cannot; the message names it and the way out.</exception>
    public static void RefuseUnholdable(IEnumerable<InstalledLayer> layers)
    {
        foreach (PlannedSite site in layers.Where(static layer => layer is { Site.Layer: QuantizedLayer } and not { Stack.MergedAs.IsQuantized: true }).Select(static layer => layer.Site))
        {
            if (site.Slots.FirstOrDefault(slot => !slot.DeclaredType.IsAssignableFrom(((QuantizedLayer)site.Layer).DenseType)) is { } slot)
            {
                throw new InvalidOperationException(
                    $"{site.Path} is held by {slot.Description}, which is declared as {slot.DeclaredType.Name} and cannot hold the dense layer that merging makes of it. " +
                    "Declare it as Module<Tensor, Tensor>, or merge with requantize: true. Nothing was merged.");
            }
        }
    }

    /// <summary>Puts plain layers in the places of those that hold dense weights.</summary>
    public static void PutIn(IEnumerable<PlannedSite> sites)
    {
        foreach (PlannedSite site in sites)
        {
            if (site.Layer is QuantizedLayer { Dense: not null } quantized)
            {
                nn.Module layer = quantized.TakeDense();
                site.Slots.ToList().ForEach(slot => slot.Set(layer));
            }
        }
    }
}
