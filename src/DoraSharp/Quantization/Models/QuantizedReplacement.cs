using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Puts a quantized layer in the place of a dense one.</summary>
internal static class QuantizedReplacement
{
    /// <summary>Whatever holds the dense layer holds the quantized one from then on, which has its mode and runs its hooks.</summary>
    /// <param name="dense">The dense layer.</param>
    /// <param name="quantized">The quantized one.</param>
    /// <param name="slots">Everything that holds the dense layer.</param>
    /// <param name="isShared">Whether others hold its tensors, so that it is not disposed.</param>
    public static void Put(nn.Module<Tensor, Tensor> dense, QuantizedLayer quantized, IEnumerable<ModuleSlot> slots, bool isShared)
    {
        quantized.train(dense.training);
        ModuleInternals.ShareHooks(dense, quantized);
        foreach (ModuleSlot slot in slots)
        {
            slot.Set(quantized);
        }

        if (!isShared)
        {
            dense.Dispose();
        }
    }
}
