using System.Runtime.Intrinsics;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// x Wᵀ for few rows of x, or W Aᵀ for an A of few rows, without a dense copy of the packed W: a few hundred elements of four rows
/// are decoded at a time and multiplied while they are in the nearest cache. A single row of x is multiplied with the codes themselves.
/// </summary>
internal static unsafe class FourBitProduct
{
    /// <summary>The rows of W that share what is loaded of x.</summary>
    private const int Rows = 4;

    /// <summary>The rows of x that are multiplied at once.</summary>
    private const int Tokens = 2;

    /// <summary>The columns of a piece. Sums of pieces are added in float64: rounding then does not grow with the width.</summary>
    private const int Piece = 512;

    private static readonly int Lanes = Vector256<float>.Count;

    /// <summary>x Wᵀ [tokens, rows] in float32.</summary>
    /// <param name="weight">W [rows, width].</param>
    /// <param name="x">[tokens, width], float32 on the CPU without gaps.</param>
    /// <param name="path">The instructions to use.</param>
    public static Tensor Multiply(FourBitMemory weight, Tensor x, VectorPath? path = null)
    {
        long rows = weight.Count / x.shape[1];
        Tensor result = empty(x.shape[0], rows, dtype: ScalarType.Float32);
        Run(weight, x, FloatMemory.Of(result), tokenStride: rows, rowStride: 1, path);
        return result;
    }

    /// <summary>W Aᵀ [rows, r] in float32.</summary>
    /// <param name="weight">W [rows, width].</param>
    /// <param name="a">A [r, width], float32 on the CPU without gaps.</param>
    /// <param name="path">The instructions to use.</param>
    public static Tensor Project(FourBitMemory weight, Tensor a, VectorPath? path = null)
    {
        long rank = a.shape[0];
        Tensor result = empty(weight.Count / a.shape[1], rank, dtype: ScalarType.Float32);
        Run(weight, a, FloatMemory.Of(result), tokenStride: 1, rowStride: rank, path);
        return result;
    }

    private static void Run(FourBitMemory weight, Tensor x, float* target, long tokenStride, long rowStride, VectorPath? path)
    {
        VectorPath chosen = path ?? VectorPaths.Best;
        long tokens = x.shape[0];
        long width = x.shape[1];
        bool isWhole = tokens == 1 && width % ICodeDot.Unit == 0 && weight.BlockSize % ICodeDot.Unit == 0;
        switch (chosen)
        {
            case VectorPath.Vector512 when isWhole:
                RunSingle<CodeDot512>(weight, x, target, rowStride);
                break;
            case VectorPath.Vector256 when isWhole:
                RunSingle<CodeDot256>(weight, x, target, rowStride);
                break;
            default:
                float* numbers = FloatMemory.Of(x);
                RowBlocks.Run(weight.Count / width, width * tokens, Rows, (first, end) =>
                    RunRows(weight, numbers, tokens, width, first, end, target, tokenStride, rowStride, chosen));
                break;
        }
    }

    private static void RunSingle<TDot>(FourBitMemory weight, Tensor x, float* target, long stride)
        where TDot : ICodeDot
    {
        long width = x.shape[1];
        using Tensor arranged = empty(width, dtype: ScalarType.Float32);
        float* numbers = FloatMemory.Of(arranged);
        TDot.Arrange(FloatMemory.Of(x), width, numbers);
        RowBlocks.Run(weight.Count / width, width, 1, (first, end) =>
        {
            for (long row = first; row < end; row++)
            {
                target[row * stride] = TDot.Dot(weight, row * width, width, numbers);
            }
        });
    }

    private static void RunRows(
        FourBitMemory weight, float* x, long tokens, long width, long first, long end, float* target, long tokenStride, long rowStride, VectorPath path)
    {
        float* w = stackalloc float[Rows * Piece];
        double[] sums = new double[Rows * tokens];
        for (long row = first; row < end; row += Rows)
        {
            int rows = (int)Math.Min(Rows, end - row);
            Array.Clear(sums);
            for (long column = 0; column < width; column += Piece)
            {
                int count = (int)Math.Min(Piece, width - column);
                for (int k = 0; k < rows; k++)
                {
                    FourBitDecoder.DecodeHere(weight, ((row + k) * width) + column, count, w + (k * Piece), path: path);
                }

                for (long token = 0; token < tokens; token += Tokens)
                {
                    // A last token without a partner is its own.
                    float* x0 = x + (token * width) + column;
                    float* x1 = token + 1 < tokens ? x0 + width : x0;
                    fixed (double* ofTokens = &sums[token * Rows])
                    {
                        Multiply(w, x0, x1, count, ofTokens, token + 1 < tokens);
                    }
                }
            }

            for (int token = 0; token < tokens; token++)
            {
                for (int k = 0; k < rows; k++)
                {
                    target[(token * tokenStride) + ((row + k) * rowStride)] = (float)sums[(token * Rows) + k];
                }
            }
        }
    }

    /// <summary>Adds the products of four rows with two tokens to their sums, or with the first token only.</summary>
    private static void Multiply(float* w, float* x0, float* x1, int count, double* sums, bool both)
    {
        Vector256<float> a0 = default, b0 = default, c0 = default, d0 = default;
        Vector256<float> a1 = default, b1 = default, c1 = default, d1 = default;
        int i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            Vector256<float> left = Vector256.Load(x0 + i);
            Vector256<float> right = Vector256.Load(x1 + i);
            Vector256<float> row = Vector256.Load(w + i);
            a0 = Vector256.MultiplyAddEstimate(row, left, a0);
            a1 = Vector256.MultiplyAddEstimate(row, right, a1);
            row = Vector256.Load(w + Piece + i);
            b0 = Vector256.MultiplyAddEstimate(row, left, b0);
            b1 = Vector256.MultiplyAddEstimate(row, right, b1);
            row = Vector256.Load(w + (2 * Piece) + i);
            c0 = Vector256.MultiplyAddEstimate(row, left, c0);
            c1 = Vector256.MultiplyAddEstimate(row, right, c1);
            row = Vector256.Load(w + (3 * Piece) + i);
            d0 = Vector256.MultiplyAddEstimate(row, left, d0);
            d1 = Vector256.MultiplyAddEstimate(row, right, d1);
        }

        Add(sums, w, x0, i, count, a0, b0, c0, d0);
        if (both)
        {
            Add(sums + Rows, w, x1, i, count, a1, b1, c1, d1);
        }
    }

    /// <summary>Adds the lanes' sums of four rows, and the products that are left.</summary>
    private static void Add(
        double* sums, float* w, float* x, int first, int count, Vector256<float> a, Vector256<float> b, Vector256<float> c, Vector256<float> d)
    {
        sums[0] += Vector256.Sum(a);
        sums[1] += Vector256.Sum(b);
        sums[2] += Vector256.Sum(c);
        sums[3] += Vector256.Sum(d);
        for (int k = 0; k < Rows; k++)
        {
            for (int i = first; i < count; i++)
            {
                sums[k] += (double)w[(k * Piece) + i] * x[i];
            }
        }
    }
}
