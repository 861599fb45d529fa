using System.Runtime.Intrinsics.X86;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Where this library's own low-rank products take the place of libtorch's: on the CPU in float32, with features that whole panels divide.</summary>
internal static class FastProducts
{
    /// <summary>Whether all of these tensors can take part.</summary>
    /// <param name="features">The number of features that must consist of whole panels.</param>
    /// <param name="tensors">The tensors; <see langword="null"/> for those that are not there.</param>
    public static bool Serve(long features, params ReadOnlySpan<Tensor?> tensors)
    {
        bool serves = Fma.IsSupported && features % Panels.Width == 0;
        foreach (Tensor? tensor in tensors)
        {
            serves = serves && (tensor is null || FloatMemory.Serves(tensor));
        }

        return serves;
    }
}
