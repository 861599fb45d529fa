using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>512 bits: sixteen bytes to a step, for a permutation chooses among all sixteen values.</summary>
internal readonly unsafe struct Lookup512 : ILevelLookup<Lookup512>
{
    public static Lookup512 Create(in FourBitMemory weight) => default;

    public long Run<T>(byte* codes, long bytes, T* table, float scale, float gain, T* target)
        where T : unmanaged =>
        sizeof(T) == sizeof(float) ? Run(codes, bytes, (float*)table, (float*)target)
        : sizeof(T) == sizeof(ushort) ? Run(codes, bytes, (ushort*)table, (ushort*)target)
        : 0;

    private static long Run(byte* codes, long bytes, float* table, float* target)
    {
        Vector512<float> values = Vector512.Load(table);
        long i = 0;
        for (; i <= bytes - 16; i += 16)
        {
            (Vector512<uint> first, Vector512<uint> second) = Vector512.Widen(Codes(codes + i));
            Vector512.ShuffleNative(values, first.AsInt32()).Store(target + (2 * i));
            Vector512.ShuffleNative(values, second.AsInt32()).Store(target + (2 * i) + 16);
        }

        return i;
    }

    private static long Run(byte* codes, long bytes, ushort* table, ushort* target)
    {
        Vector512<ushort> values = Vector256.Load(table).ToVector512();
        long i = 0;
        for (; i <= bytes - 16; i += 16)
        {
            Vector512.ShuffleNative(values, Codes(codes + i)).Store(target + (2 * i));
        }

        return i;
    }

    /// <summary>The 32 codes of sixteen bytes.</summary>
    private static Vector512<ushort> Codes(byte* codes)
    {
        (Vector128<ushort> first, Vector128<ushort> second) = Vector128.Widen(Vector128.Load(codes));
        (Vector256<ushort> lower, Vector256<ushort> upper) = Vector256.Widen(Nibbles.InOrder(Vector256.Create(first, second)));
        return Vector512.Create(lower, upper);
    }
}
