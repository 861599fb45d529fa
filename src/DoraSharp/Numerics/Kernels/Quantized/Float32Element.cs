using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>float32: nothing to round.</summary>
internal readonly unsafe struct Float32Element : IDecodedElement<float>
{
    public static void Round(Vector256<float> lower, Vector256<float> upper, float* table)
    {
        lower.Store(table);
        upper.Store(table + 8);
    }
}
