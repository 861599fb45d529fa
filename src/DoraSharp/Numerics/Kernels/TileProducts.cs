using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>The two low-rank products of a tile [tokens, <see cref="TokenBlocks.TileWidth"/>] of gradients or inputs.</summary>
internal static unsafe class TileProducts
{
    /// <summary>Copies whole panels' columns of a row: a general copy takes longer to begin than a row of a tile takes.</summary>
    public static void Copy(float* source, float* target, int width)
    {
        for (int i = 0; i < width; i += Panels.Width)
        {
            Vector256.Load(source + i).Store(target + i);
            Vector256.Load(source + i + 8).Store(target + i + 8);
        }
    }

    /// <summary>sums += tile · factors: a sum over features.</summary>
    /// <param name="tile">The tile.</param>
    /// <param name="tokens">Its rows.</param>
    /// <param name="width">Its columns.</param>
    /// <param name="factors">[features, r].</param>
    /// <param name="first">The feature of the tile's first column.</param>
    /// <param name="sums">[tokens, r].</param>
    public static void ByRows(float* tile, int tokens, int width, Panels factors, long first, Panels sums)
    {
        for (int panel = 0; panel < sums.Count; panel++)
        {
            for (int row = 0; row < tokens; row += PanelKernel.Rows)
            {
                PanelKernel.Multiply(
                    tile + (row * TokenBlocks.TileWidth), TokenBlocks.TileWidth, 1, Math.Min(PanelKernel.Rows, tokens - row), width, factors.At(panel, first), new AddingSink(sums.At(panel, row), Panels.Width));
            }
        }
    }

    /// <summary>sums += tileᵀ · factors: a sum over tokens.</summary>
    /// <param name="tile">The tile.</param>
    /// <param name="tokens">Its rows.</param>
    /// <param name="width">Its columns.</param>
    /// <param name="factors">[tokens, r].</param>
    /// <param name="sums">[features, r].</param>
    /// <param name="first">The row of the sums for the tile's first column.</param>
    /// <param name="next">The next tile.</param>
    public static void ByColumns(float* tile, int tokens, int width, Panels factors, Panels sums, long first, NextTile next)
    {
        for (int panel = 0; panel < sums.Count; panel++)
        {
            for (int column = 0; column < width; column += PanelKernel.Rows)
            {
                if (panel == 0)
                {
                    next.Fetch(column / PanelKernel.Rows, (width + PanelKernel.Rows - 1) / PanelKernel.Rows);
                }

                PanelKernel.Multiply(
                    tile + column, 1, TokenBlocks.TileWidth, Math.Min(PanelKernel.Rows, width - column), tokens, factors.At(panel, 0), new AddingSink(sums.At(panel, first + column), Panels.Width));
            }
        }
    }

    /// <summary>rows += factors · panels, for some of the columns.</summary>
    /// <typeparam name="TSink">What becomes of the sums.</typeparam>
    /// <param name="factors">[tokens, r].</param>
    /// <param name="tokens">The number of tokens.</param>
    /// <param name="panels">[r, features].</param>
    /// <param name="first">The first feature.</param>
    /// <param name="end">The end of the features.</param>
    /// <param name="sink">For the first token and feature 0.</param>
    public static void Expand<TSink>(float* factors, int tokens, Panels panels, long first, long end, TSink sink)
        where TSink : struct, ITileSink<TSink>
    {
        int rank = (int)panels.Rows;
        for (int row = 0; row < tokens; row += PanelKernel.Rows)
        {
            int rows = Math.Min(PanelKernel.Rows, tokens - row);
            for (long column = first; column < end; column += Panels.Width)
            {
                PanelKernel.Multiply(factors + (row * rank), rank, 1, rows, rank, panels.At((int)(column / Panels.Width), 0), sink.At(row, (nint)column));
            }
        }
    }
}
