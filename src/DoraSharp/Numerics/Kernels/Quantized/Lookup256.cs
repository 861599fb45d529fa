using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DoraSharp;

/// <summary>AVX2.</summary>
internal readonly unsafe struct Lookup256 : ILevelLookup
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long Run<T>(byte* codes, long bytes, T* table, T* target)
        where T : unmanaged =>
        sizeof(T) == sizeof(float) ? Run(codes, bytes, (float*)table, (float*)target)
        : sizeof(T) == sizeof(ushort) ? Run(codes, bytes, (ushort*)table, (ushort*)target)
        : 0;

    /// <summary>Four bytes to a step: a permutation chooses among eight values, so there are two of them, and the code's upper bit decides.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static long Run(byte* codes, long bytes, float* table, float* target)
    {
        Vector256<float> lower = Vector256.Load(table);
        Vector256<float> upper = Vector256.Load(table + 8);
        Vector256<uint> shifts = Vector256.Create(4u, 0, 12, 8, 20, 16, 28, 24);
        long i = 0;
        for (; i <= bytes - 4; i += 4)
        {
            Vector256<uint> code = Avx2.ShiftRightLogicalVariable(Vector256.Create(*(uint*)(codes + i)), shifts);
            Vector256<float> low = Avx2.PermuteVar8x32(lower, code.AsInt32());
            Vector256<float> high = Avx2.PermuteVar8x32(upper, code.AsInt32());
            Avx.BlendVariable(low, high, (code << 28).AsSingle()).Store(target + (2 * i));
        }

        return i;
    }

    /// <summary>Sixteen bytes to a step: the values' lower and upper bytes are looked up each for themselves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static long Run(byte* codes, long bytes, ushort* table, ushort* target)
    {
        Vector256<ushort> values = Vector256.Load(table);
        Vector128<byte> lower = Vector128.Narrow(values.GetLower() & Vector128.Create<ushort>(255), values.GetUpper() & Vector128.Create<ushort>(255));
        Vector128<byte> upper = Vector128.Narrow(values.GetLower() >>> 8, values.GetUpper() >>> 8);
        Vector256<byte> lowerBytes = Vector256.Create(lower, lower);
        Vector256<byte> upperBytes = Vector256.Create(upper, upper);
        long i = 0;
        for (; i <= bytes - 16; i += 16)
        {
            // Interleaving works on each half of a vector, so the second and the third quarter change places first.
            Vector128<byte> packed = Sse2.Shuffle(Vector128.Load(codes + i).AsUInt32(), 0b11_01_10_00).AsByte();
            Vector256<byte> code = Nibbles.InOrder(Avx2.ConvertToVector256Int16(packed).AsUInt16());
            Vector256<byte> low = Avx2.Shuffle(lowerBytes, code);
            Vector256<byte> high = Avx2.Shuffle(upperBytes, code);
            Avx2.UnpackLow(low, high).AsUInt16().Store(target + (2 * i));
            Avx2.UnpackHigh(low, high).AsUInt16().Store(target + (2 * i) + 16);
        }

        return i;
    }
}
