using System.Runtime.Intrinsics;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What DoRA's gain does to whole outputs, in one pass over each: on the CPU in float32; elsewhere by libtorch's operations.</summary>
internal static unsafe class GainKernel
{
    /// <summary>The columns whose sums stay in the nearest cache.</summary>
    private const int Tile = 2048;

    /// <summary>The rows that are summed in float32 before they are added up in float64.</summary>
    private const long Chunk = 64;

    private const int Lanes = 8;

    /// <summary>y = g ⊙ y + offset, in place.</summary>
    /// <param name="y">[tokens, out].</param>
    /// <param name="gain">g [out].</param>
    /// <param name="offset">[out], if there is one.</param>
    public static void Scale(Tensor y, Tensor gain, Tensor? offset)
    {
        if (!FloatMemory.Serves(y) || !FloatMemory.Serves(gain) || (offset is not null && !FloatMemory.Serves(offset)))
        {
            y.mul_(gain);
            if (offset is not null)
            {
                y.add_(offset);
            }

            return;
        }

        float* rows = FloatMemory.Of(y);
        float* g = FloatMemory.Of(gain);
        float* c = offset is null ? null : FloatMemory.Of(offset);
        long width = gain.size(0);
        RowBlocks.Run(y.size(0), width, 1, (first, end) =>
        {
            for (long row = first; row < end; row++)
            {
                ScaleRow(rows + (row * width), g, c, width);
            }
        });
    }

    /// <summary>Σ dY ⊙ (y − centre) over the tokens, [out], and g ⊙ dY.</summary>
    /// <param name="gradient">dY [tokens, out].</param>
    /// <param name="gain">g [out].</param>
    /// <param name="y">[tokens, out].</param>
    /// <param name="centre">[out], if there is one.</param>
    public static (Tensor Scaled, Tensor Sums) ScaleAndSum(Tensor gradient, Tensor gain, Tensor y, Tensor? centre)
    {
        if (!FloatMemory.Serves(gradient) || !FloatMemory.Serves(y) || !FloatMemory.Serves(gain) || (centre is not null && !FloatMemory.Serves(centre)))
        {
            Tensor centred = centre is null ? y.to(gain.dtype) : y - centre;
            return (gradient * gain, (gradient * centred).sum(dim: 0));
        }

        Tensor scaled = empty_like(gradient);
        Tensor sums = empty_like(gain);
        float* d = FloatMemory.Of(gradient);
        float* g = FloatMemory.Of(gain);
        float* u = FloatMemory.Of(y);
        float* c = centre is null ? null : FloatMemory.Of(centre);
        float* target = FloatMemory.Of(scaled);
        float* totals = FloatMemory.Of(sums);
        long tokens = gradient.size(0);
        long width = gain.size(0);

        // By columns: so that a sum is one thread's, and does not depend on how many there are.
        RowBlocks.Run(width, tokens, Lanes * 2, (first, end) =>
        {
            for (long column = first; column < end; column += Tile)
            {
                SumTile(d, g, u, c, target, totals, tokens, width, column, (int)Math.Min(Tile, end - column));
            }
        });
        return (scaled, sums);
    }

    private static void ScaleRow(float* y, float* g, float* c, long width)
    {
        long i = 0;
        for (; i <= width - Lanes; i += Lanes)
        {
            Vector256<float> product = Vector256.Load(y + i) * Vector256.Load(g + i);
            (c is null ? product : product + Vector256.Load(c + i)).Store(y + i);
        }

        for (; i < width; i++)
        {
            y[i] = (y[i] * g[i]) + (c is null ? 0 : c[i]);
        }
    }

    private static void SumTile(float* d, float* g, float* u, float* c, float* target, float* totals, long tokens, long width, long column, int count)
    {
        float* sums = stackalloc float[Tile];
        double* exact = stackalloc double[Tile];
        new Span<double>(exact, count).Clear();
        for (long first = 0; first < tokens; first += Chunk)
        {
            new Span<float>(sums, count).Clear();
            for (long row = first; row < Math.Min(tokens, first + Chunk); row++)
            {
                long start = (row * width) + column;
                SumRow(d + start, g + column, u + start, c is null ? null : c + column, target + start, sums, count);
            }

            for (int i = 0; i < count; i++)
            {
                exact[i] += sums[i];
            }
        }

        for (int i = 0; i < count; i++)
        {
            totals[column + i] = (float)exact[i];
        }
    }

    private static void SumRow(float* d, float* g, float* u, float* c, float* target, float* sums, int count)
    {
        int i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            Vector256<float> gradient = Vector256.Load(d + i);
            Vector256<float> value = Vector256.Load(u + i);
            value = c is null ? value : value - Vector256.Load(c + i);
            Vector256.MultiplyAddEstimate(gradient, value, Vector256.Load(sums + i)).Store(sums + i);
            (gradient * Vector256.Load(g + i)).Store(target + i);
        }

        for (; i < count; i++)
        {
            sums[i] += d[i] * (u[i] - (c is null ? 0 : c[i]));
            target[i] = d[i] * g[i];
        }
    }
}
