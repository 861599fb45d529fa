using System.Runtime.Intrinsics;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The sum of <see cref="RowNorms"/> in one pass over its terms, on the CPU in float32.</summary>
internal static unsafe class NormKernel
{
    /// <summary>The rows that are summed at once: two vectors of float64.</summary>
    private const int Group = 8;

    /// <summary>The elements of a vector of float64.</summary>
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
        (long outputs, int rank) = (b.size(0), (int)b.size(1));
        double[] gram = Gram(a);
        double[] lengths = new double[rank];
        for (int k = 0; k < rank; k++)
        {
            lengths[k] = Math.Sqrt(gram[k * (rank + 1)]);
        }

        Tensor norms = empty(outputs, dtype: ScalarType.Float32, device: CPU);
        float* c = FloatMemory.Of(cross);
        float* up = FloatMemory.Of(b);
        float* n = FloatMemory.Of(norms);
        double* squares = (double*)TensorMemory.Address(squaredWeight);
        List<long> cancelled = [];
        RowBlocks.Run(outputs, (long)rank * rank, Group, (first, end) =>
        {
            using FloatBuffer crossed = new(rank * Group);
            using FloatBuffer factors = new(rank * Group);
            crossed.Clear();
            factors.Clear();
            double[] scaled = new double[rank * Group];
            Span<double> updates = stackalloc double[Group];
            Span<double> sizes = stackalloc double[Group];
            for (long row = first; row < end; row += Group)
            {
                int rows = (int)Math.Min(Group, end - row);
                Panels.Transpose(c + (row * rank), rank, rows, rank, crossed.Start, Group);
                Panels.Transpose(up + (row * rank), rank, rows, rank, factors.Start, Group);
                Sum(crossed.Start, factors.Start, gram, lengths, scaled, scaling, updates, sizes);
                for (int i = 0; i < rows; i++)
                {
                    double squared = squares[row + i] + updates[i];
                    n[row + i] = (float)Math.Sqrt(squared);
                    if (squared < sizes[i] * Math.Sqrt(squares[row + i]) * cancellation)
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

    /// <summary>n² − ‖w‖² of eight rows, and Σ|s·b_k|·‖a_k‖: the size of the terms that can cancel.</summary>
    private static void Sum(float* crossed, float* factors, double[] gram, double[] lengths, double[] scaled, double scaling, Span<double> updates, Span<double> sizes)
    {
        int rank = lengths.Length;
        Vector256<double> sum0 = default, sum1 = default, size0 = default, size1 = default;
        fixed (double* matrix = gram, kept = scaled)
        {
            for (int k = 0; k < rank; k++)
            {
                (Vector256<double> factor0, Vector256<double> factor1) = Vector256.Widen(Vector256.Load(factors + (k * Group)));
                (Vector256<double> inner0, Vector256<double> inner1) = Vector256.Widen(Vector256.Load(crossed + (k * Group)));
                factor0 *= scaling;
                factor1 *= scaling;
                factor0.Store(kept + (k * Group));
                factor1.Store(kept + (k * Group) + Lanes);
                double* line = matrix + (k * rank);
                for (int l = 0; l < k; l++)
                {
                    Vector256<double> product = Vector256.Create(line[l]);
                    inner0 = Vector256.MultiplyAddEstimate(Vector256.Load(kept + (l * Group)), product, inner0);
                    inner1 = Vector256.MultiplyAddEstimate(Vector256.Load(kept + (l * Group) + Lanes), product, inner1);
                }

                // What the symmetric matrix holds twice counts twice, and so does W Aᵀ.
                sum0 += factor0 * ((inner0 * 2) + (factor0 * line[k]));
                sum1 += factor1 * ((inner1 * 2) + (factor1 * line[k]));
                size0 += Vector256.Abs(factor0) * lengths[k];
                size1 += Vector256.Abs(factor1) * lengths[k];
            }
        }

        sum0.CopyTo(updates);
        sum1.CopyTo(updates[Lanes..]);
        size0.CopyTo(sizes);
        size1.CopyTo(sizes[Lanes..]);
    }

    /// <summary>The lower half of A Aᵀ [r, r] in float64.</summary>
    private static double[] Gram(Tensor a)
    {
        (int rank, int inputs) = ((int)a.size(0), (int)a.size(1));
        using FloatBuffer exact = new(2L * rank * inputs);
        float* source = FloatMemory.Of(a);
        double* rows = (double*)exact.Start;
        double[] gram = new double[rank * rank];
        RowBlocks.Run(rank, inputs, 1, (first, end) => Widen(source + (first * inputs), rows + (first * inputs), (end - first) * inputs));

        // The later a row, the more products it has: a long one and a short one together have as many as any two.
        RowBlocks.Run((rank + 1) / 2, (long)rank * inputs / 2, 1, (first, end) =>
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
            double* products = stackalloc double[Lanes];
            for (long l = 0; l <= k; l += Lanes)
            {
                int count = (int)Math.Min(Lanes, k + 1 - l);
                MultiplyFour(rows + (k * inputs), rows + (l * inputs), inputs, count, products);
                new ReadOnlySpan<double>(products, count).CopyTo(gram.AsSpan((int)((k * rank) + l)));
            }
        }
    }

    private static void Widen(float* source, double* target, long count)
    {
        long i = 0;
        for (; i <= count - (2 * Lanes); i += 2 * Lanes)
        {
            (Vector256<double> low, Vector256<double> high) = Vector256.Widen(Vector256.Load(source + i));
            low.Store(target + i);
            high.Store(target + i + Lanes);
        }

        for (; i < count; i++)
        {
            target[i] = source[i];
        }
    }

    /// <summary>The products of a row with four others that follow each other, of which those after the last are computed in vain.</summary>
    private static void MultiplyFour(double* x, double* y, nint length, int count, double* products)
    {
        double* y1 = y + (count > 1 ? length : 0);
        double* y2 = y + (count > 2 ? 2 * length : 0);
        double* y3 = y + (count > 3 ? 3 * length : 0);
        Vector256<double> a = default, b = default, c = default, d = default;
        nint i = 0;
        for (; i <= length - Lanes; i += Lanes)
        {
            Vector256<double> factor = Vector256.Load(x + i);
            a = Vector256.MultiplyAddEstimate(factor, Vector256.Load(y + i), a);
            b = Vector256.MultiplyAddEstimate(factor, Vector256.Load(y1 + i), b);
            c = Vector256.MultiplyAddEstimate(factor, Vector256.Load(y2 + i), c);
            d = Vector256.MultiplyAddEstimate(factor, Vector256.Load(y3 + i), d);
        }

        (products[0], products[1], products[2], products[3]) = (Vector256.Sum(a), Vector256.Sum(b), Vector256.Sum(c), Vector256.Sum(d));
        for (; i < length; i++)
        {
            products[0] += x[i] * y[i];
            products[1] += x[i] * y1[i];
            products[2] += x[i] * y2[i];
            products[3] += x[i] * y3[i];
        }
    }
}
