using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The sum of <see cref="RowNorms"/> in one pass over its terms, on the CPU in float32.</summary>
internal static unsafe class NormKernel
{
    /// <summary>The rows that are summed at once, and the elements that are multiplied at once.</summary>
    private const int Lanes = 4;

    /// <summary>
    /// n [out] from W Aᵀ [out, r], A [r, in], B [out, r] and ‖W‖² [out] in float64, and the rows whose sum has lost digits.
    /// </summary>
    /// <param name="cross">W Aᵀ.</param>
    /// <param name="a">A.</param>
    /// <param name="b">B.</param>
    /// <param name="scaling">s.</param>
    /// <param name="squaredWeight">‖W‖².</param>
    /// <param name="cancellation">The share of ‖w‖·Σ|s·b_k|·‖a_k‖ below which n² counts as cancelled.</param>
    public static (Tensor Norms, long[] Cancelled) Run(Tensor cross, Tensor a, Tensor b, double scaling, Tensor squaredWeight, double cancellation)
    {
        long outputs = b.size(0);
        double[] gram = Gram(a);
        double[] lengths = [.. Enumerable.Range(0, (int)b.size(1)).Select(k => Math.Sqrt(gram[k * ((int)b.size(1) + 1)]))];
        Tensor norms = empty(outputs, dtype: ScalarType.Float32, device: CPU);
        float* c = FloatMemory.Of(cross);
        float* up = FloatMemory.Of(b);
        float* n = FloatMemory.Of(norms);
        double* squares = (double*)TensorMemory.Address(squaredWeight);
        int rank = (int)b.size(1);
        List<long> cancelled = [];
        RowBlocks.Run(outputs, (long)rank * rank, Lanes, (first, end) =>
        {
            Vector256<double>[] scaled = new Vector256<double>[rank];
            for (long row = first; row < end; row += Lanes)
            {
                int rows = (int)Math.Min(Lanes, end - row);
                Vector256<double> weight = Gather(squares + row, 1, rows);
                (Vector256<double> squared, Vector256<double> size) = Rows(c + (row * rank), up + (row * rank), rows, gram, lengths, scaled, scaling, weight);
                Vector256<double> norm = Vector256.Sqrt(squared);
                Vector256<double> lost = Vector256.LessThan(squared, size * Vector256.Sqrt(weight) * cancellation);
                for (int i = 0; i < rows; i++)
                {
                    n[row + i] = (float)norm[i];
                    if (lost[i] != 0)
                    {
                        lock (cancelled)
                        {
                            cancelled.Add(row + i);
                        }
                    }
                }
            }
        });
        return (norms, [.. cancelled]);
    }

    /// <summary>n² of four rows, and Σ|s·b_k|·‖a_k‖: the size of the terms that can cancel.</summary>
    private static (Vector256<double> Squared, Vector256<double> Size) Rows(
        float* cross, float* b, int rows, double[] gram, double[] lengths, Vector256<double>[] scaled, double scaling, Vector256<double> squaredWeight)
    {
        Vector256<double> sum = squaredWeight;
        Vector256<double> size = default;
        int rank = scaled.Length;
        ref double line = ref gram[0];
        for (int k = 0; k < rank; k++, line = ref Unsafe.Add(ref line, rank))
        {
            Vector256<double> factor = Gather(b + k, rank, rows) * scaling;
            scaled[k] = factor;

            // What the symmetric matrix holds twice counts twice.
            Vector256<double> inner = Gather(cross + k, rank, rows);
            for (int l = 0; l < k; l++)
            {
                inner = Vector256.MultiplyAddEstimate(scaled[l], Vector256.Create(Unsafe.Add(ref line, l)), inner);
            }

            double own = Unsafe.Add(ref line, k);
            sum += factor * ((inner * 2) + (factor * own));
            size += Vector256.Abs(factor) * lengths[k];
        }

        return (sum, size);
    }

    private static Vector256<double> Gather(float* first, nint stride, int count) => Vector256.Create(
        (double)first[0],
        count > 1 ? first[stride] : 0,
        count > 2 ? first[2 * stride] : 0,
        count > 3 ? first[3 * stride] : 0);

    private static Vector256<double> Gather(double* first, nint stride, int count) => Vector256.Create(
        first[0],
        count > 1 ? first[stride] : 0,
        count > 2 ? first[2 * stride] : 0,
        count > 3 ? first[3 * stride] : 0);

    /// <summary>The lower half of A Aᵀ [r, r] in float64.</summary>
    private static double[] Gram(Tensor a)
    {
        (int rank, int inputs) = ((int)a.size(0), (int)a.size(1));
        float* rows = FloatMemory.Of(a);
        double[] gram = new double[rank * rank];

        // The later a row, the more products it has: a long one and a short one together have as many as any two.
        RowBlocks.Run((rank + 1) / 2, (long)rank * inputs, 1, (first, end) =>
        {
            for (long row = first; row < end; row++)
            {
                FillRow(row);
                FillRow(rank - 1 - row);
            }
        });
        return gram;

        void FillRow(long k)
        {
            for (long l = 0; l <= k; l++)
            {
                gram[(k * rank) + l] = Dot(rows + (k * inputs), rows + (l * inputs), inputs);
            }
        }
    }

    private static double Dot(float* x, float* y, int count)
    {
        Vector256<double> even = default;
        Vector256<double> odd = default;
        int i = 0;
        for (; i <= count - (2 * Lanes); i += 2 * Lanes)
        {
            (Vector256<double> x0, Vector256<double> x1) = Vector256.Widen(Vector256.Load(x + i));
            (Vector256<double> y0, Vector256<double> y1) = Vector256.Widen(Vector256.Load(y + i));
            even = Vector256.MultiplyAddEstimate(x0, y0, even);
            odd = Vector256.MultiplyAddEstimate(x1, y1, odd);
        }

        double sum = Vector256.Sum(even + odd);
        for (; i < count; i++)
        {
            sum += (double)x[i] * y[i];
        }

        return sum;
    }
}
