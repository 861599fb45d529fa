using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>float16, by its bits.</summary>
internal readonly unsafe struct Float16Element : IDecodedElement<ushort>
{
    public static void Round(Vector256<float> lower, Vector256<float> upper, ushort* table) =>
        Vector256.Narrow(Round(lower), Round(upper)).Store(table);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Round(Vector256<float> values)
    {
        Vector256<uint> bits = values.AsUInt32();
        Vector256<uint> sign = (bits >>> 16) & Vector256.Create(0x8000u);
        Vector256<uint> size = bits & Vector256.Create(0x7FFFFFFFu);

        // Normal numbers: the exponent's bias changes from 127 to 15, and thirteen bits are rounded away, perhaps into the exponent.
        Vector256<uint> normal = (size + Vector256.Create(0xC8000FFFu) + ((size >>> 13) & Vector256<uint>.One)) >>> 13;

        // Below 2^-14 the last place is 2^-24, which is that of 0.5 in float32: an addition rounds.
        Vector256<uint> half = Vector256.Create(0.5f).AsUInt32();
        Vector256<uint> denormal = (size.AsSingle() + Vector256.Create(0.5f)).AsUInt32() - half;
        Vector256<uint> finite = Vector256.ConditionalSelect(Vector256.LessThan(size, Vector256.Create(0x38800000u)), denormal, normal);

        // From 65520 on the nearest number would be 65536, which there is not.
        Vector256<uint> infinite = Vector256.GreaterThanOrEqual(size, Vector256.Create(0x477FF000u));
        Vector256<uint> number = Vector256.ConditionalSelect(infinite, Vector256.Create(0x7C00u), finite);
        return sign | Vector256.ConditionalSelect(Vector256.Equals(values, values).AsUInt32(), number, Vector256.Create(0x7E00u));
    }
}
