using TorchSharp.Modules;

namespace DoraSharp;

/// <summary>A layer that is going to be adapted.</summary>
/// <param name="Node">The layer's place in the model.</param>
/// <param name="Layer">The layer.</param>
/// <param name="Options">The options that hold there.</param>
/// <param name="Slots">Everything that holds the layer.</param>
internal sealed record PlannedSite(ModuleNode Node, Linear Layer, LoraOptions Options, IReadOnlyList<ModuleSlot> Slots)
{
    /// <summary>The slots whose declared type cannot hold a wrapper.</summary>
    public IEnumerable<ModuleSlot> SealedSlots => Slots.Where(slot => !slot.DeclaredType.IsAssignableFrom(typeof(AdaptedLinear)));
}
