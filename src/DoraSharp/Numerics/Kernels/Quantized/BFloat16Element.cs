using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>bfloat16, by its bits.</summary>
internal readonly unsafe struct BFloat16Element : IDecodedElement<ushort>
{
    public static void Round(Vector256<float> lower, Vector256<float> upper, ushort* table) =>
        Vector256.Narrow(Round(lower), Round(upper)).Store(table);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Round(Vector256<float> values)
    {
        Vector256<uint> bits = values.AsUInt32();
        Vector256<uint> upper = bits >>> 16;
        Vector256<uint> rounded = (bits + Vector256.Create(0x7FFFu) + (upper & Vector256<uint>.One)) >>> 16;

        // What is not a number has to stay one.
        return Vector256.ConditionalSelect(Vector256.Equals(values, values).AsUInt32(), rounded, upper | Vector256.Create(0x40u));
    }
}
