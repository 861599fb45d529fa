using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>Adds the sums to rows of memory.</summary>
/// <param name="target">The first row.</param>
/// <param name="stride">From a row to the next one.</param>
internal readonly unsafe struct AddingSink(float* target, nint stride) : ITileSink<AddingSink>
{
    private readonly float* target = target;
    private readonly nint stride = stride;

    public AddingSink At(nint row, nint column) => new(target + (row * stride) + column, stride);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Take(int row, Vector256<float> left, Vector256<float> right)
    {
        float* place = target + (row * stride);
        (Vector256.Load(place) + left).Store(place);
        (Vector256.Load(place + 8) + right).Store(place + 8);
    }
}
