using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>Adds those of the sums to rows of memory that dropout keeps, times a factor.</summary>
/// <param name="target">The first row's sixteen elements.</param>
/// <param name="stride">From a row to the next one.</param>
/// <param name="kept">Bits of the first row's sixteen elements, one for each that is kept.</param>
/// <param name="keptStride">From a row's bits to the next one's, in bytes.</param>
/// <param name="factor">1/(1 − p).</param>
internal readonly unsafe struct DroppingSink(float* target, nint stride, byte* kept, nint keptStride, float factor) : ITileSink<DroppingSink>
{
    private readonly float* target = target;
    private readonly nint stride = stride;
    private readonly byte* kept = kept;
    private readonly nint keptStride = keptStride;
    private readonly float factor = factor;

    public DroppingSink At(nint row, nint column) =>
        new(target + (row * stride) + column, stride, kept + (row * keptStride) + (column / DropoutBits.Step), keptStride, factor);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Take(int row, Vector256<float> left, Vector256<float> right)
    {
        float* place = target + (row * stride);
        byte* bits = kept + (row * keptStride);
        (Vector256.Load(place) + Kept(left * factor, bits[0])).Store(place);
        (Vector256.Load(place + 8) + Kept(right * factor, bits[1])).Store(place + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Kept(Vector256<float> values, byte bits)
    {
        Vector256<int> lanes = Vector256.Create(1, 2, 4, 8, 16, 32, 64, 128);
        return values & Vector256.Equals(Vector256.Create((int)bits) & lanes, lanes).AsSingle();
    }
}
