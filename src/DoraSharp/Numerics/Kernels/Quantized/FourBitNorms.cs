using System.Runtime.Intrinsics;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Row norms of packed weights.</summary>
internal static unsafe class FourBitNorms
{
    /// <summary>The elements that are decoded at a time: half of the nearest cache.</summary>
    private const int Piece = 4096;

    /// <summary>‖row‖² of a matrix, float64 [rows], without a decoded copy.</summary>
    /// <param name="weight">The matrix.</param>
    /// <param name="rows">Its rows.</param>
    /// <param name="path">The instructions to use.</param>
    public static Tensor SquaredRows(FourBitMemory weight, long rows, VectorPath? path = null)
    {
        Tensor norms = empty(rows, dtype: ScalarType.Float64);
        double* target = (double*)TensorMemory.Address(norms);
        long width = weight.Count / rows;
        RowBlocks.Run(rows, width, 1, (first, end) =>
        {
            float* values = stackalloc float[Piece];
            for (long row = first; row < end; row++)
            {
                double sum = 0;
                for (long column = 0; column < width; column += Piece)
                {
                    int count = (int)Math.Min(Piece, width - column);
                    FourBitDecoder.DecodeHere(weight, (row * width) + column, count, values, path: path);
                    sum += SumOfSquares(values, count);
                }

                target[row] = sum;
            }
        });
        return norms;
    }

    private static double SumOfSquares(float* values, int count)
    {
        Vector256<double> even = default;
        Vector256<double> odd = default;
        int i = 0;
        for (; i <= count - Vector256<float>.Count; i += Vector256<float>.Count)
        {
            (Vector256<double> lower, Vector256<double> upper) = Vector256.Widen(Vector256.Load(values + i));
            even = Vector256.MultiplyAddEstimate(lower, lower, even);
            odd = Vector256.MultiplyAddEstimate(upper, upper, odd);
        }

        double sum = Vector256.Sum(even + odd);
        for (; i < count; i++)
        {
            sum += (double)values[i] * values[i];
        }

        return sum;
    }
}
