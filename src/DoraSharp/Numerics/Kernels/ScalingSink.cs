using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>Adds the sums to rows of memory, and scales and shifts the result: y = g ⊙ (y + sums) + c.</summary>
/// <param name="target">The first row's sixteen elements.</param>
/// <param name="stride">From a row to the next one.</param>
/// <param name="gain">The sixteen g.</param>
/// <param name="offset">The sixteen c, if there are any.</param>
internal readonly unsafe struct ScalingSink(float* target, nint stride, float* gain, float* offset) : ITileSink<ScalingSink>
{
    private readonly float* target = target;
    private readonly nint stride = stride;
    private readonly float* gain = gain;
    private readonly float* offset = offset;

    public ScalingSink At(nint row, nint column) => new(target + (row * stride) + column, stride, gain + column, offset is null ? null : offset + column);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Take(int row, Vector256<float> left, Vector256<float> right)
    {
        float* place = target + (row * stride);
        left = (Vector256.Load(place) + left) * Vector256.Load(gain);
        right = (Vector256.Load(place + 8) + right) * Vector256.Load(gain + 8);
        if (offset is not null)
        {
            left += Vector256.Load(offset);
            right += Vector256.Load(offset + 8);
        }

        left.Store(place);
        right.Store(place + 8);
    }
}
