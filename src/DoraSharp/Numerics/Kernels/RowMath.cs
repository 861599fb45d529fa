using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>Loops over one row of memory, whose length may be anything.</summary>
internal static unsafe class RowMath
{
    private const int Lanes = 8;

    /// <summary>Σ x_i·y_i, in four times eight sums.</summary>
    public static float Dot(float* x, float* y, long length)
    {
        Vector256<float> a = default, b = default, c = default, d = default;
        long i = 0;
        for (; i <= length - (4 * Lanes); i += 4 * Lanes)
        {
            a = Vector256.MultiplyAddEstimate(Vector256.Load(x + i), Vector256.Load(y + i), a);
            b = Vector256.MultiplyAddEstimate(Vector256.Load(x + i + Lanes), Vector256.Load(y + i + Lanes), b);
            c = Vector256.MultiplyAddEstimate(Vector256.Load(x + i + (2 * Lanes)), Vector256.Load(y + i + (2 * Lanes)), c);
            d = Vector256.MultiplyAddEstimate(Vector256.Load(x + i + (3 * Lanes)), Vector256.Load(y + i + (3 * Lanes)), d);
        }

        for (; i <= length - Lanes; i += Lanes)
        {
            a = Vector256.MultiplyAddEstimate(Vector256.Load(x + i), Vector256.Load(y + i), a);
        }

        float sum = Vector256.Sum((a + b) + (c + d));
        for (; i < length; i++)
        {
            sum += x[i] * y[i];
        }

        return sum;
    }

    /// <summary>target = factor·x, or target += factor·x. Inlined: a row is often no longer than a rank.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Multiply(float* x, float factor, float* target, long length, bool adds)
    {
        Vector256<float> factors = Vector256.Create(factor);
        long i = 0;
        for (; i <= length - Lanes; i += Lanes)
        {
            Vector256<float> value = Vector256.Load(x + i);
            (adds ? Vector256.MultiplyAddEstimate(value, factors, Vector256.Load(target + i)) : value * factors).Store(target + i);
        }

        for (; i < length; i++)
        {
            target[i] = adds ? (x[i] * factor) + target[i] : x[i] * factor;
        }
    }
}
