using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>An element type that packed weights are decoded to.</summary>
/// <typeparam name="T">What holds an element.</typeparam>
internal unsafe interface IDecodedElement<T>
    where T : unmanaged
{
    /// <summary>Rounds sixteen values to the nearest, ties to even.</summary>
    static abstract void Round(Vector256<float> lower, Vector256<float> upper, T* table);
}
