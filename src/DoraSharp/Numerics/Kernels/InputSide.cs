using System.Runtime.CompilerServices;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What dH gives at the input, in one pass over x and one over dX: dA = dHᵀ drop(x) and dX += drop(dH A).</summary>
/// <remarks>A thread takes some of the features, for all tokens: then every sum is its own.</remarks>
internal sealed unsafe class InputSide
{
    private readonly long tokens;
    private readonly long inputs;
    private readonly int rank;
    private readonly float* x;
    private readonly int parts;
    private readonly float* partsOfH;
    private readonly float* dX;
    private readonly float* dA;
    private readonly Panels? down;
    private readonly MaskedRows? mask;

    private InputSide(Tensor x, Tensor partsOfH, Panels? down, Tensor? dX, Tensor? dA, CountedMask? mask)
    {
        (tokens, inputs, parts, rank) = (x.size(0), x.size(1), (int)partsOfH.size(0), (int)partsOfH.size(2));
        this.x = FloatMemory.Of(x);
        this.partsOfH = FloatMemory.Of(partsOfH);
        this.dX = FloatMemory.Of(dX);
        this.dA = FloatMemory.Of(dA);
        this.down = down;
        this.mask = mask is null ? null : new(mask, inputs);
    }

    /// <summary>Computes what is wanted.</summary>
    /// <param name="x">[tokens, in].</param>
    /// <param name="partsOfH">What dH is the sum of, [parts, tokens, r].</param>
    /// <param name="a">A [r, in].</param>
    /// <param name="dX">[tokens, in], to which the adapter's part is added; <see langword="null"/> if that is not wanted.</param>
    /// <param name="wantsA">Whether dA is wanted.</param>
    /// <param name="mask">The dropout of x, if it acts.</param>
    /// <returns>dA [r, in].</returns>
    public static Tensor? Run(Tensor x, Tensor partsOfH, Tensor a, Tensor? dX, bool wantsA, DropoutMask? mask)
    {
        (long tokens, long inputs, long rank) = (x.size(0), x.size(1), a.size(0));
        bool serves = FastProducts.Serve(inputs, x, partsOfH, a, dX) && mask is not GivenMask;
        bool few = serves && FewTokens.Serves(tokens, mask);
        if (few || !serves)
        {
            Tensor dH = partsOfH.size(0) == 1 ? partsOfH.squeeze(0) : partsOfH.sum(dim: 0);
            return few ? FewTokens.Input(x, dH, a, dX, wantsA) : ByOperations(x, dH, a, dX, wantsA, mask);
        }

        Tensor? dA = wantsA ? empty_like(a) : null;
        using Panels? down = dX is null ? null : Panels.Of(FloatMemory.Of(a), rank, inputs);
        RowBlocks.Run(inputs, tokens * (rank + 4) / 4, Panels.Width, new InputSide(x, partsOfH, down, dX, dA, mask as CountedMask).RunFeatures);
        return dA;
    }

    private static Tensor? ByOperations(Tensor x, Tensor dH, Tensor a, Tensor? dX, bool wantsA, DropoutMask? mask)
    {
        if (dX is not null && mask is not null)
        {
            mask.AddTo(dX, dH.mm(a));
        }
        else if (dX is not null)
        {
            _ = dX.dtype == a.dtype ? dX.addmm_(dH, a) : dX.add_(dH.mm(a));
        }

        return wantsA ? dH.t().mm(mask?.Apply(x) ?? x) : null;
    }

    [SkipLocalsInit]
    private void RunFeatures(long first, long end)
    {
        int size = TokenBlocks.SizeFor(tokens);
        float* tile = stackalloc float[TokenBlocks.Most * TokenBlocks.TileWidth];
        byte* kept = stackalloc byte[TokenBlocks.Most * TokenBlocks.TileWidth / DropoutBits.Step];
        using FloatBuffer dH = new((long)size * rank);
        using Panels factors = new(size, rank);
        using Panels sums = new(end - first, rank);
        sums.Clear();
        for (long token = 0; token < tokens; token += size)
        {
            int count = (int)Math.Min(size, tokens - token);
            SumParts(token, count, dH.Start);
            factors.Fill(dH.Start, count);
            for (long column = first; column < end; column += TokenBlocks.TileWidth)
            {
                int width = (int)Math.Min(TokenBlocks.TileWidth, end - column);
                Load(tile, kept, token, count, column, width);
                if (dA is not null)
                {
                    TileProducts.ByColumns(tile, count, width, factors, sums, column - first, NextTile.After(x, dX, inputs, tokens, token, count, column, first, end));
                }

                if (dX is not null)
                {
                    Spread(dH.Start, kept, token, count, column, width);
                }
            }
        }

        if (dA is not null)
        {
            sums.CopyTransposedTo(dA + first, (nint)inputs);
        }
    }

    /// <summary>dH of some tokens.</summary>
    private void SumParts(long token, int count, float* sum)
    {
        int length = count * rank;
        float* first = partsOfH + (token * rank);
        new ReadOnlySpan<float>(first, length).CopyTo(new(sum, length));
        for (int part = 1; part < parts; part++)
        {
            RowMath.Multiply(first + (part * tokens * rank), 1, sum, length, adds: true);
        }
    }

    /// <summary>Copies drop(x) into a tile, and which of its elements are kept.</summary>
    private void Load(float* tile, byte* kept, long token, int count, long column, int width)
    {
        if (mask is not null)
        {
            mask.Copy(x, token, count, column, width, tile, TokenBlocks.TileWidth, kept);
            return;
        }

        for (int row = 0; row < count && dA is not null; row++)
        {
            TileProducts.Copy(x + ((token + row) * inputs) + column, tile + (row * TokenBlocks.TileWidth), width);
        }
    }

    /// <summary>Adds the adapter's part to a tile of dX.</summary>
    private void Spread(float* dH, byte* kept, long token, int count, long column, int width)
    {
        float* target = dX + (token * inputs);
        if (mask is null)
        {
            TileProducts.Expand(dH, count, down!, column, column + width, new AddingSink(target, (nint)inputs));
        }
        else
        {
            const int KeptStride = TokenBlocks.TileWidth / DropoutBits.Step;
            TileProducts.Expand(dH, count, down!, column, column + width, new DroppingSink(target, (nint)inputs, kept - (column / DropoutBits.Step), KeptStride, mask.Factor));
        }
    }
}
