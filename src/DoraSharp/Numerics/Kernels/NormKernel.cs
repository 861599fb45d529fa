using System.Runtime.Intrinsics;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The sum of <see cref="RowNorms"/> in one pass over its terms, on the CPU in float32.</summary>
internal static unsafe class NormKernel
{
    private static readonly int Lanes = Vector256<double>.Count;

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
        long outputs = b.shape[0];
        int rank = (int)b.shape[1];
        int padded = (rank + Lanes - 1) / Lanes * Lanes;
        double[] gram = Gram(a, rank, padded);
        double[] lengths = [.. Enumerable.Range(0, rank).Select(k => Math.Sqrt(gram[(k * padded) + k]))];
        bool[] cancelled = new bool[outputs];
        Tensor norms = empty(outputs, dtype: ScalarType.Float32);
        float* c = FloatMemory.Of(cross);
        float* up = FloatMemory.Of(b);
        float* n = FloatMemory.Of(norms);
        double* squares = (double*)TensorMemory.Address(squaredWeight);
        RowBlocks.Run(outputs, (long)rank * rank, 1, (first, end) =>
        {
            double[] scaled = new double[padded];
            double[] product = new double[padded];
            for (long row = first; row < end; row++)
            {
                (double squared, double size) = Row(c + (row * rank), up + (row * rank), gram, lengths, scaled, product, scaling, squares[row]);
                n[row] = (float)Math.Sqrt(squared);
                cancelled[row] = squared < size * cancellation;
            }
        });
        return (norms, [.. Enumerable.Range(0, cancelled.Length).Where(row => cancelled[row]).Select(row => (long)row)]);
    }

    /// <summary>n² of a row, and the size of the terms that can cancel.</summary>
    private static (double Squared, double Size) Row(
        float* cross, float* b, double[] gram, double[] lengths, double[] scaled, double[] product, double scaling, double squaredWeight)
    {
        double crossed = 0;
        double size = 0;
        Array.Clear(product);
        for (int k = 0; k < lengths.Length; k++)
        {
            scaled[k] = b[k] * scaling;
            crossed += scaled[k] * cross[k];
            size += Math.Abs(scaled[k]) * lengths[k];
            Vector256<double> factor = Vector256.Create(scaled[k]);
            for (int l = 0; l < product.Length; l += Lanes)
            {
                ReadOnlySpan<double> line = gram.AsSpan((k * product.Length) + l, Lanes);
                Span<double> sums = product.AsSpan(l, Lanes);
                Vector256.MultiplyAddEstimate(factor, Vector256.Create(line), Vector256.Create<double>(sums)).CopyTo(sums);
            }
        }

        double update = 0;
        for (int k = 0; k < lengths.Length; k++)
        {
            update += scaled[k] * product[k];
        }

        return (squaredWeight + update + (2 * crossed), size * Math.Sqrt(squaredWeight));
    }

    /// <summary>A Aᵀ [r, padded] in float64.</summary>
    private static double[] Gram(Tensor a, int rank, int padded)
    {
        int inputs = (int)a.shape[1];
        float* rows = FloatMemory.Of(a);
        double[] gram = new double[rank * padded];
        for (int k = 0; k < rank; k++)
        {
            for (int l = 0; l <= k; l++)
            {
                double product = Dot(rows + ((long)k * inputs), rows + ((long)l * inputs), inputs);
                gram[(k * padded) + l] = product;
                gram[(l * padded) + k] = product;
            }
        }

        return gram;
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
