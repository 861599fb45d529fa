using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What the output's gradient dY gives, in one pass over it: g ⊙ dY, Σ dY ⊙ (y − b), dB = (g ⊙ dY)ᵀ h and dH = s·(g ⊙ dY) B.</summary>
/// <remarks>A thread takes some of the features, for all tokens: then every sum over tokens is its own, and only dH comes in parts.</remarks>
internal sealed unsafe class OutputSide
{
    private readonly long tokens;
    private readonly long outputs;
    private readonly int rank;
    private readonly float scaling;
    private readonly float* gradient;
    private readonly float* gain;
    private readonly float* y;
    private readonly float* centre;
    private readonly float* h;
    private readonly float* scaled;
    private readonly float* sums;
    private readonly float* dB;
    private readonly float* partialDh;
    private readonly Panels? up;

    private OutputSide(Tensor gradient, double scaling, Tensor? h, Tensor? gain, Tensor? y, Tensor? centre, Panels? up, int rank, OutputGradients results, Tensor? partialDh)
    {
        (tokens, outputs, this.rank, this.scaling, this.up) = (gradient.size(0), gradient.size(1), rank, (float)scaling, up);
        this.gradient = FloatMemory.Of(gradient);
        this.gain = FloatMemory.Of(gain);
        this.y = FloatMemory.Of(y);
        this.centre = FloatMemory.Of(centre);
        this.h = FloatMemory.Of(h);
        scaled = FloatMemory.Of(results.Scaled);
        sums = FloatMemory.Of(results.Sums);
        dB = FloatMemory.Of(results.B);
        this.partialDh = FloatMemory.Of(partialDh);
    }

    /// <summary>Computes what is wanted.</summary>
    /// <param name="gradient">dY [tokens, out].</param>
    /// <param name="b">B [out, r].</param>
    /// <param name="scaling">s.</param>
    /// <param name="h">h [tokens, r]; <see langword="null"/> if dB is not wanted.</param>
    /// <param name="gain">g [out], if there is a magnitude.</param>
    /// <param name="y">y [tokens, out], if its sum is wanted.</param>
    /// <param name="centre">b [out], if there is a bias.</param>
    /// <param name="wantsDh">Whether dH is wanted.</param>
    public static OutputGradients Run(Tensor gradient, Tensor b, double scaling, Tensor? h, Tensor? gain, Tensor? y, Tensor? centre, bool wantsDh)
    {
        (long tokens, long outputs, int rank) = (gradient.size(0), gradient.size(1), (int)b.size(1));
        if (!FastProducts.Serve(outputs, gradient, b, h, gain, y, centre))
        {
            return ByOperations(gradient, b, scaling, h, gain, y, centre, wantsDh);
        }

        if (FewTokens.Serves(tokens))
        {
            return FewTokens.Output(gradient, b, scaling, h, gain, y, centre, wantsDh);
        }

        RowBlocks shares = new(outputs, tokens * (rank + 4) / 4, Panels.Width);
        Tensor? partial = wantsDh ? empty(shares.Shares, tokens, rank, dtype: ScalarType.Float32, device: CPU) : null;
        using Panels? up = wantsDh ? Panels.Of(FloatMemory.Of(b), outputs, rank) : null;
        OutputGradients results = new(
            gain is null ? null : empty_like(gradient),
            y is null ? null : empty(outputs, dtype: ScalarType.Float32, device: CPU),
            h is null ? null : empty(outputs, rank, dtype: ScalarType.Float32, device: CPU),
            null);
        shares.Run(new OutputSide(gradient, scaling, h, gain, y, centre, up, rank, results, partial).RunFeatures);
        return results with { PartsOfH = partial };
    }

    private static OutputGradients ByOperations(Tensor gradient, Tensor b, double scaling, Tensor? h, Tensor? gain, Tensor? y, Tensor? centre, bool wantsDh)
    {
        (Tensor? scaled, Tensor? sums) = gain is null ? (null, null) : y is null ? (gradient * gain, null) : GainKernel.ScaleAndSum(gradient, gain, y, centre);
        Tensor source = scaled ?? gradient.to(b.dtype);
        return new(scaled, sums, h?.t().mm(source).t(), wantsDh ? source.mm(b).mul_(scaling).unsqueeze_(0) : null);
    }

    [SkipLocalsInit]
    private void RunFeatures(int share, long first, long end)
    {
        int size = TokenBlocks.SizeFor(tokens);
        float* tile = stackalloc float[TokenBlocks.Most * TokenBlocks.TileWidth];
        double[] exact = new double[y is null ? 0 : end - first];
        using Panels factors = new(size, rank);
        using Panels sumsOfH = new(size, rank);
        using Panels sumsOfB = new(end - first, rank);
        sumsOfB.Clear();
        for (long token = 0; token < tokens; token += size)
        {
            int count = (int)Math.Min(size, tokens - token);
            sumsOfH.Clear();
            if (h is not null)
            {
                factors.Fill(h + (token * rank), count);
            }

            for (long column = first; column < end; column += TokenBlocks.TileWidth)
            {
                int width = (int)Math.Min(TokenBlocks.TileWidth, end - column);
                Load(tile, token, count, column, width, exact.AsSpan(y is null ? 0 : (int)(column - first)));
                if (up is not null)
                {
                    TileProducts.ByRows(tile, count, width, up, column, sumsOfH);
                }

                if (h is not null)
                {
                    TileProducts.ByColumns(tile, count, width, factors, sumsOfB, column - first, NextTile.After(gradient, y, outputs, tokens, token, count, column, first, end));
                }
            }

            if (up is not null)
            {
                sumsOfH.CopyTo(partialDh + (((share * tokens) + token) * rank), count, scaling);
            }
        }

        if (h is not null)
        {
            sumsOfB.CopyTo(dB + (first * rank), end - first, 1);
        }

        for (int i = 0; i < exact.Length; i++)
        {
            sums[first + i] = (float)exact[i];
        }
    }

    /// <summary>Copies g ⊙ dY into a tile, and does on the way what needs all of dY.</summary>
    private void Load(float* tile, long token, int count, long column, int width, Span<double> exact)
    {
        float* partial = stackalloc float[TokenBlocks.TileWidth];
        new Span<float>(partial, TokenBlocks.TileWidth).Clear();
        for (int row = 0; row < count; row++)
        {
            long start = ((token + row) * outputs) + column;
            float* target = tile + (row * TokenBlocks.TileWidth);
            if (gain is null)
            {
                TileProducts.Copy(gradient + start, target, width);
            }
            else if (y is null)
            {
                Scale(gradient + start, gain + column, target, scaled + start, width);
            }
            else
            {
                ScaleAndSum(gradient + start, gain + column, y + start, centre is null ? null : centre + column, target, scaled + start, partial, width);
            }
        }

        // A block's sums are of float32, those of all blocks of float64.
        for (int i = 0; i < width && y is not null; i++)
        {
            exact[i] += partial[i];
        }
    }

    private static void Scale(float* d, float* g, float* tile, float* scaled, int width)
    {
        for (int i = 0; i < width; i += 8)
        {
            Vector256<float> product = Vector256.Load(d + i) * Vector256.Load(g + i);
            product.Store(tile + i);
            product.Store(scaled + i);
        }
    }

    private static void ScaleAndSum(float* d, float* g, float* y, float* centre, float* tile, float* scaled, float* sums, int width)
    {
        for (int i = 0; i < width; i += 8)
        {
            Vector256<float> gradient = Vector256.Load(d + i);
            Vector256<float> value = Vector256.Load(y + i);
            value = centre is null ? value : value - Vector256.Load(centre + i);
            Vector256.MultiplyAddEstimate(gradient, value, Vector256.Load(sums + i)).Store(sums + i);
            Vector256<float> product = gradient * Vector256.Load(g + i);
            product.Store(tile + i);
            product.Store(scaled + i);
        }
    }
}
