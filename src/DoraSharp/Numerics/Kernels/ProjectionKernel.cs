using System.Runtime.Intrinsics;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// W Aᵀ for a large W and an A of few rows, on the CPU in float32. General matrix products reach half of the arithmetic that is
/// possible here, or less: they are made for results that are large in both directions.
/// </summary>
internal static unsafe class ProjectionKernel
{
    /// <summary>The rows of W that share what is loaded of A.</summary>
    private const int Rows = 6;

    /// <summary>The rows of A that are multiplied at once.</summary>
    private const int Panel = 16;

    /// <summary>The products that are summed before the sum is added to the rest: rounding then grows with the root of the number of sums.</summary>
    private const long Chunk = 256;

    /// <summary>W Aᵀ [out, r].</summary>
    /// <param name="w">W [out, in].</param>
    /// <param name="a">A [r, in].</param>
    public static Tensor Product(Tensor w, Tensor a)
    {
        long outputs = w.shape[0];
        long inputs = w.shape[1];
        long rank = a.shape[0];
        long panels = (rank + Panel - 1) / Panel;
        using Tensor packed = Pack(a, panels);
        Tensor result = empty(outputs, rank, dtype: ScalarType.Float32);
        float* weight = FloatMemory.Of(w);
        float* factors = FloatMemory.Of(packed);
        float* target = FloatMemory.Of(result);
        RowBlocks.Run(outputs, inputs, Rows, (first, end) =>
        {
            float* sums = stackalloc float[Rows * Panel];
            for (long row = first; row < end; row += Rows)
            {
                for (long panel = 0; panel < panels; panel++)
                {
                    Multiply(weight, row, end - 1, inputs, factors + (panel * inputs * Panel), sums);
                    int columns = (int)Math.Min(Panel, rank - (panel * Panel));
                    for (int k = 0; k < Math.Min(Rows, end - row); k++)
                    {
                        new ReadOnlySpan<float>(sums + (k * Panel), columns).CopyTo(new(target + ((row + k) * rank) + (panel * Panel), columns));
                    }
                }
            }
        });
        return result;
    }

    /// <summary>A in the order in which it is read: [panels, in, 16], with rows of zeros at the end.</summary>
    private static Tensor Pack(Tensor a, long panels)
    {
        long rank = a.shape[0];
        long inputs = a.shape[1];
        Tensor packed = zeros(panels * inputs * Panel, dtype: ScalarType.Float32);
        float* rows = FloatMemory.Of(a);
        float* target = FloatMemory.Of(packed);
        for (long k = 0; k < rank; k++)
        {
            float* column = target + (k / Panel * inputs * Panel) + (k % Panel);
            for (long i = 0; i < inputs; i++)
            {
                column[i * Panel] = rows[(k * inputs) + i];
            }
        }

        return packed;
    }

    /// <summary>The products of six rows, of which those after the last are computed in vain, with a panel.</summary>
    private static void Multiply(float* weight, long row, long last, long inputs, float* panel, float* sums)
    {
        float* w0 = weight + (row * inputs);
        float* w1 = weight + (Math.Min(row + 1, last) * inputs);
        float* w2 = weight + (Math.Min(row + 2, last) * inputs);
        float* w3 = weight + (Math.Min(row + 3, last) * inputs);
        float* w4 = weight + (Math.Min(row + 4, last) * inputs);
        float* w5 = weight + (Math.Min(row + 5, last) * inputs);
        new Span<float>(sums, Rows * Panel).Clear();
        for (long first = 0; first < inputs; first += Chunk)
        {
            Vector256<float> a0 = default, a1 = default, b0 = default, b1 = default, c0 = default, c1 = default;
            Vector256<float> d0 = default, d1 = default, e0 = default, e1 = default, f0 = default, f1 = default;
            float* p = panel + (first * Panel);
            long end = Math.Min(inputs, first + Chunk);
            for (long i = first; i < end; i++, p += Panel)
            {
                Vector256<float> left = Vector256.Load(p);
                Vector256<float> right = Vector256.Load(p + 8);
                Vector256<float> w = Vector256.Create(w0[i]);
                a0 = Vector256.MultiplyAddEstimate(w, left, a0);
                a1 = Vector256.MultiplyAddEstimate(w, right, a1);
                w = Vector256.Create(w1[i]);
                b0 = Vector256.MultiplyAddEstimate(w, left, b0);
                b1 = Vector256.MultiplyAddEstimate(w, right, b1);
                w = Vector256.Create(w2[i]);
                c0 = Vector256.MultiplyAddEstimate(w, left, c0);
                c1 = Vector256.MultiplyAddEstimate(w, right, c1);
                w = Vector256.Create(w3[i]);
                d0 = Vector256.MultiplyAddEstimate(w, left, d0);
                d1 = Vector256.MultiplyAddEstimate(w, right, d1);
                w = Vector256.Create(w4[i]);
                e0 = Vector256.MultiplyAddEstimate(w, left, e0);
                e1 = Vector256.MultiplyAddEstimate(w, right, e1);
                w = Vector256.Create(w5[i]);
                f0 = Vector256.MultiplyAddEstimate(w, left, f0);
                f1 = Vector256.MultiplyAddEstimate(w, right, f1);
            }

            Add(sums, a0, a1);
            Add(sums + Panel, b0, b1);
            Add(sums + (2 * Panel), c0, c1);
            Add(sums + (3 * Panel), d0, d1);
            Add(sums + (4 * Panel), e0, e1);
            Add(sums + (5 * Panel), f0, f1);
        }
    }

    private static void Add(float* sums, Vector256<float> left, Vector256<float> right)
    {
        (Vector256.Load(sums) + left).Store(sums);
        (Vector256.Load(sums + 8) + right).Store(sums + 8);
    }
}
