using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DoraSharp;

/// <summary>The paths of this processor.</summary>
internal static class VectorPaths
{
    /// <summary>The fastest one.</summary>
    public static VectorPath Best { get; } =
        Vector512.IsHardwareAccelerated && Avx512BW.IsSupported ? VectorPath.Vector512
        : Avx2.IsSupported ? VectorPath.Vector256
        : VectorPath.Scalar;

    /// <summary>All that can run here.</summary>
    public static IReadOnlyList<VectorPath> Available { get; } =
        Avx2.IsSupported ? [VectorPath.Scalar, VectorPath.Vector256, VectorPath.Vector512] : [VectorPath.Scalar, VectorPath.Vector512];
}
