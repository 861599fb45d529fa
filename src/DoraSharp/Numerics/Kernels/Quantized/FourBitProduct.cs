using System.Runtime.CompilerServices;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// x Wᵀ for few rows of x, or W Aᵀ for an A of few rows, without a dense copy of the packed W. Up to three rows of x are multiplied
/// with the codes themselves; for more of them pieces of W are decoded and multiplied while they are in a near cache.
/// </summary>
internal static unsafe class FourBitProduct
{
    /// <summary>The most rows of x that are multiplied with the codes: looking levels up costs as much as three products with decoded ones.</summary>
    private const long MostDots = 3;

    /// <summary>The rows that one token after the other is multiplied with, while their codes are in the nearest cache.</summary>
    private const long RowsOfTurn = 8;

    /// <summary>The columns that are decoded at a time.</summary>
    private const int Piece = 4 * PanelKernel.Chunk;

    /// <summary>From this number of tokens on a general matrix product is worth a dense copy.</summary>
    private const long ManyTokens = 64;

    /// <summary>Whether this is the way to multiply x [tokens, width].</summary>
    public static bool Serves(Tensor x) =>
        x.device_type == TorchSharp.DeviceType.CPU && x.dtype is ScalarType.Float32 or ScalarType.BFloat16 or ScalarType.Float16 && x.size(0) is > 0 and < ManyTokens;

    /// <summary>x Wᵀ [tokens, rows] in float32.</summary>
    /// <param name="weight">W [rows, width].</param>
    /// <param name="x">[tokens, width], float32 on the CPU without gaps.</param>
    /// <param name="path">The instructions to use.</param>
    public static Tensor Multiply(FourBitMemory weight, Tensor x, VectorPath? path = null)
    {
        long rows = weight.Count / x.size(1);
        Tensor result = empty(x.size(0), rows, dtype: ScalarType.Float32);
        Run(weight, x, new(FloatMemory.Of(result), rowStride: 1, tokenStride: rows), path);
        return result;
    }

    /// <summary>W Aᵀ [rows, r] in float32.</summary>
    /// <param name="weight">W [rows, width].</param>
    /// <param name="a">A [r, width], float32 on the CPU without gaps.</param>
    /// <param name="path">The instructions to use.</param>
    public static Tensor Project(FourBitMemory weight, Tensor a, VectorPath? path = null)
    {
        long rank = a.size(0);
        Tensor result = empty(weight.Count / a.size(1), rank, dtype: ScalarType.Float32);
        Run(weight, a, new(FloatMemory.Of(result), rowStride: rank, tokenStride: 1), path);
        return result;
    }

    private static void Run(FourBitMemory weight, Tensor x, Target target, VectorPath? path)
    {
        VectorPath chosen = path ?? VectorPaths.Best;
        long width = x.size(1);
        bool hasWholeUnits = width % CodeUnits.Unit == 0 && weight.BlockSize % CodeUnits.Unit == 0;
        switch (chosen)
        {
            case VectorPath.Vector512 when hasWholeUnits && x.size(0) <= MostDots:
                Dots<CodeDot512>(weight, x, target);
                break;
            case VectorPath.Vector256 when hasWholeUnits && x.size(0) <= MostDots:
                Dots<CodeDot256>(weight, x, target);
                break;
            default:
                using (Panels tokens = Panels.OfTransposed(FloatMemory.Of(x), width, x.size(0)))
                {
                    RowBlocks.Run(weight.Count / width, x.numel(), PanelKernel.Rows, (first, end) => Multiply(weight, tokens, first, end, target, chosen));
                }

                break;
        }
    }

    private static void Dots<TDot>(FourBitMemory weight, Tensor x, Target target)
        where TDot : ICodeDot<TDot>
    {
        (long tokens, long width) = (x.size(0), x.size(1));
        using FloatBuffer arranged = new(tokens * width);
        float* numbers = arranged.Start;
        TDot.Arrange(FloatMemory.Of(x), tokens * width, numbers);
        RowBlocks.Run(weight.Count / width, width * tokens, 1, (first, end) =>
        {
            TDot dot = TDot.Create(weight);
            for (long row = first; row < end; row += RowsOfTurn)
            {
                for (long token = 0; token < tokens; token++)
                {
                    for (long k = row; k < Math.Min(row + RowsOfTurn, end); k++)
                    {
                        *target.At(k, token) = Dot(weight, k * width, width, dot, numbers + (token * width));
                    }
                }
            }
        });
    }

    /// <summary>The product of a row that begins with an element.</summary>
    [SkipLocalsInit]
    private static float Dot<TDot>(in FourBitMemory weight, long first, long width, in TDot dot, float* arranged)
        where TDot : ICodeDot<TDot>
    {
        float* buffer = stackalloc float[CodeUnits.Piece / CodeUnits.Unit];
        int shift = weight.BlockShift;
        float sum = 0;
        for (long start = 0; start < width; start += CodeUnits.Piece)
        {
            int length = (int)Math.Min(CodeUnits.Piece, width - start);
            long block = (first + start) >> shift;
            int offset = (int)(first + start - (block << shift));
            float* scales = weight.Scales.Read(block, ((offset + length - 1) >> shift) + 1, buffer);
            sum += dot.Sum(weight.Codes + ((first + start) >> 1), arranged + start, length, scales, offset, shift);
        }

        return sum;
    }

    /// <summary>The products of the rows [first, end).</summary>
    private static void Multiply(FourBitMemory weight, Panels x, long first, long end, Target target, VectorPath path)
    {
        float* pieces = stackalloc float[PanelKernel.Rows * Piece];
        using FloatBuffer sums = new(x.Count * PanelKernel.Rows * Panels.Width);
        long width = x.Rows;
        for (long row = first; row < end; row += PanelKernel.Rows)
        {
            int rows = (int)Math.Min(PanelKernel.Rows, end - row);
            sums.Clear();
            for (long column = 0; column < width; column += Piece)
            {
                int count = (int)Math.Min(Piece, width - column);
                for (int k = 0; k < rows; k++)
                {
                    FourBitDecoder.DecodeHere(weight, ((row + k) * width) + column, count, pieces + (k * Piece), path: path);
                }

                AddProducts(pieces, rows, count, x, column, sums.Start);
            }

            for (int token = 0; token < x.Columns; token++)
            {
                for (int k = 0; k < rows; k++)
                {
                    *target.At(row + k, token) = sums.Start[((((token / Panels.Width) * PanelKernel.Rows) + k) * Panels.Width) + (token % Panels.Width)];
                }
            }
        }
    }

    /// <summary>sums [panels, 6, 16] += the products of pieces of rows with all tokens.</summary>
    private static void AddProducts(float* pieces, int rows, int count, Panels x, long column, float* sums)
    {
        for (int start = 0; start < count; start += PanelKernel.Chunk)
        {
            int steps = Math.Min(PanelKernel.Chunk, count - start);
            for (int panel = 0; panel < x.Count; panel++)
            {
                AddingSink sink = new(sums + (panel * PanelKernel.Rows * Panels.Width), Panels.Width);
                PanelKernel.Multiply(pieces + start, Piece, 1, rows, steps, x.At(panel, column + start), sink);
            }
        }
    }

    /// <summary>Where products go.</summary>
    private readonly struct Target(float* memory, long rowStride, long tokenStride)
    {
        public float* At(long row, long token) => memory + (row * rowStride) + (token * tokenStride);
    }
}
