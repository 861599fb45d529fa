using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DoraSharp;

/// <summary>AVX2, sixteen bytes to a step.</summary>
internal readonly unsafe struct Lookup256 : ILevelLookup<Lookup256>
{
    private readonly LevelPlanes planes;

    private Lookup256(LevelPlanes planes) => this.planes = planes;

    public static Lookup256 Create(in FourBitMemory weight) => new(new(weight.LowerLevels, weight.UpperLevels));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public long Run<T>(byte* codes, long bytes, T* table, float scale, float gain, T* target)
        where T : unmanaged =>
        sizeof(T) == sizeof(float) ? Run(codes, bytes, scale, gain, (float*)target)
        : sizeof(T) == sizeof(ushort) ? Run(codes, bytes, (ushort*)table, (ushort*)target)
        : 0;

    /// <summary>The levels are looked up, and multiplied afterwards: a table of each block's own would have to be taken to pieces first.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private long Run(byte* codes, long bytes, float scale, float gain, float* target)
    {
        // Each lookup gives two times four values: so that these are neighbours, pairs of bytes take turns to go to the halves of the vector.
        Vector128<byte> order = Vector128.Create((byte)0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
        Vector256<float> scales = Vector256.Create(scale);
        Vector256<float> gains = Vector256.Create(gain);
        long i = 0;
        for (; i <= bytes - 16; i += 16)
        {
            Vector128<byte> packed = Ssse3.Shuffle(Vector128.Load(codes + i), order);
            Vector256<byte> code = Nibbles.InOrder(Avx2.ConvertToVector256Int16(packed).AsUInt16());
            planes.Lookup(code, out Vector256<float> a, out Vector256<float> b, out Vector256<float> c, out Vector256<float> d);
            float* to = target + (2 * i);
            (a * scales * gains).Store(to);
            (b * scales * gains).Store(to + 8);
            (c * scales * gains).Store(to + 16);
            (d * scales * gains).Store(to + 24);
        }

        return i;
    }

    /// <summary>The values' lower and upper bytes are looked up each for themselves.</summary>
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
