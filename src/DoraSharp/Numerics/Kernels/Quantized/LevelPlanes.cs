using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DoraSharp;

/// <summary>
/// Sixteen float32 numbers to be looked up by AVX2, 32 at a time: a byte shuffle chooses among sixteen bytes, so each number's four bytes
/// are looked up for themselves and interleaved. Permutations of whole numbers choose among eight only and are slower than four shuffles.
/// </summary>
internal readonly struct LevelPlanes
{
    private readonly Vector256<byte> plane0;
    private readonly Vector256<byte> plane1;
    private readonly Vector256<byte> plane2;
    private readonly Vector256<byte> plane3;

    /// <param name="lower">The numbers 0 to 7.</param>
    /// <param name="upper">The numbers 8 to 15.</param>
    public LevelPlanes(Vector256<float> lower, Vector256<float> upper)
    {
        plane0 = Plane(lower.AsUInt32(), upper.AsUInt32());
        plane1 = Plane(lower.AsUInt32() >>> 8, upper.AsUInt32() >>> 8);
        plane2 = Plane(lower.AsUInt32() >>> 16, upper.AsUInt32() >>> 16);
        plane3 = Plane(lower.AsUInt32() >>> 24, upper.AsUInt32() >>> 24);
    }

    /// <summary>
    /// The numbers of 32 codes, by fours: a vector's first half has those of four codes of the first sixteen, its second half those of the
    /// corresponding four of the last sixteen.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Lookup(Vector256<byte> codes, out Vector256<float> a, out Vector256<float> b, out Vector256<float> c, out Vector256<float> d)
    {
        Vector256<byte> byte0 = Avx2.Shuffle(plane0, codes);
        Vector256<byte> byte1 = Avx2.Shuffle(plane1, codes);
        Vector256<byte> byte2 = Avx2.Shuffle(plane2, codes);
        Vector256<byte> byte3 = Avx2.Shuffle(plane3, codes);
        Vector256<ushort> lowerAB = Avx2.UnpackLow(byte0, byte1).AsUInt16();
        Vector256<ushort> lowerCD = Avx2.UnpackHigh(byte0, byte1).AsUInt16();
        Vector256<ushort> upperAB = Avx2.UnpackLow(byte2, byte3).AsUInt16();
        Vector256<ushort> upperCD = Avx2.UnpackHigh(byte2, byte3).AsUInt16();
        a = Avx2.UnpackLow(lowerAB, upperAB).AsSingle();
        b = Avx2.UnpackHigh(lowerAB, upperAB).AsSingle();
        c = Avx2.UnpackLow(lowerCD, upperCD).AsSingle();
        d = Avx2.UnpackHigh(lowerCD, upperCD).AsSingle();
    }

    /// <summary>The lowest bytes, in both halves of a vector.</summary>
    private static Vector256<byte> Plane(Vector256<uint> lower, Vector256<uint> upper)
    {
        Vector256<uint> lowest = Vector256.Create(255u);
        Vector256<ushort> words = Vector256.Narrow(lower & lowest, upper & lowest);
        Vector128<byte> bytes = Vector128.Narrow(words.GetLower(), words.GetUpper());
        return Vector256.Create(bytes, bytes);
    }
}
