using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>
/// The one loop that all low-rank products are made of: six rows of a matrix times a panel of sixteen columns, the sums in registers.
/// General matrix products reach half of the arithmetic that is possible here, or less: they are made for results that are large in both directions.
/// </summary>
internal static unsafe class PanelKernel
{
    /// <summary>The rows that share what is loaded of a panel.</summary>
    public const int Rows = 6;

    /// <summary>The products that are best summed at once: rounding then grows with the root of the number of sums, and a piece of a panel stays in the nearest cache.</summary>
    public const int Chunk = 256;

    /// <summary>Multiplies and hands the sums over, row by row.</summary>
    /// <typeparam name="TSink">What becomes of the sums.</typeparam>
    /// <param name="x">The first row's first factor.</param>
    /// <param name="rowStride">From a row's factor to the next row's.</param>
    /// <param name="stepStride">From a factor to the next one of its row.</param>
    /// <param name="rows">How many rows there are, up to six; the others are computed in vain.</param>
    /// <param name="steps">How many factors a row has.</param>
    /// <param name="panel">The panel [steps, 16].</param>
    /// <param name="sink">Takes the sums.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Multiply<TSink>(float* x, nint rowStride, nint stepStride, int rows, int steps, float* panel, TSink sink)
        where TSink : struct, IPanelSink
    {
        float* x0 = x;
        float* x1 = x + (rows > 1 ? rowStride : 0);
        float* x2 = x + (rows > 2 ? 2 * rowStride : 0);
        float* x3 = x + (rows > 3 ? 3 * rowStride : 0);
        float* x4 = x + (rows > 4 ? 4 * rowStride : 0);
        float* x5 = x + (rows > 5 ? 5 * rowStride : 0);
        Vector256<float> a0 = default, a1 = default, b0 = default, b1 = default, c0 = default, c1 = default;
        Vector256<float> d0 = default, d1 = default, e0 = default, e1 = default, f0 = default, f1 = default;
        nint offset = 0;
        for (int step = 0; step < steps; step++, offset += stepStride, panel += Panels.Width)
        {
            Vector256<float> left = Vector256.Load(panel);
            Vector256<float> right = Vector256.Load(panel + 8);
            Vector256<float> factor = Vector256.Create(x0[offset]);
            a0 = Vector256.MultiplyAddEstimate(factor, left, a0);
            a1 = Vector256.MultiplyAddEstimate(factor, right, a1);
            factor = Vector256.Create(x1[offset]);
            b0 = Vector256.MultiplyAddEstimate(factor, left, b0);
            b1 = Vector256.MultiplyAddEstimate(factor, right, b1);
            factor = Vector256.Create(x2[offset]);
            c0 = Vector256.MultiplyAddEstimate(factor, left, c0);
            c1 = Vector256.MultiplyAddEstimate(factor, right, c1);
            factor = Vector256.Create(x3[offset]);
            d0 = Vector256.MultiplyAddEstimate(factor, left, d0);
            d1 = Vector256.MultiplyAddEstimate(factor, right, d1);
            factor = Vector256.Create(x4[offset]);
            e0 = Vector256.MultiplyAddEstimate(factor, left, e0);
            e1 = Vector256.MultiplyAddEstimate(factor, right, e1);
            factor = Vector256.Create(x5[offset]);
            f0 = Vector256.MultiplyAddEstimate(factor, left, f0);
            f1 = Vector256.MultiplyAddEstimate(factor, right, f1);
        }

        sink.Take(0, a0, a1);
        if (rows > 1)
        {
            sink.Take(1, b0, b1);
        }

        if (rows > 2)
        {
            sink.Take(2, c0, c1);
        }

        if (rows > 3)
        {
            sink.Take(3, d0, d1);
        }

        if (rows > 4)
        {
            sink.Take(4, e0, e1);
        }

        if (rows > 5)
        {
            sink.Take(5, f0, f1);
        }
    }
}
