namespace DoraSharp;

/// <summary>How the tokens of a low-rank product are taken in blocks, so that what a block needs stays in the nearest caches.</summary>
internal static class TokenBlocks
{
    /// <summary>The most tokens of a block.</summary>
    public const int Most = 11 * PanelKernel.Rows;

    /// <summary>The features of a tile: as many as whole panels and whole groups of rows of <see cref="PanelKernel"/> divide.</summary>
    public const int TileWidth = 6 * Panels.Width;

    /// <summary>The tokens of a block: blocks of nearly the same size, of whole groups.</summary>
    public static int SizeFor(long tokens)
    {
        long blocks = (tokens + Most - 1) / Most;
        long size = (tokens + blocks - 1) / Math.Max(blocks, 1);
        return (int)((size + PanelKernel.Rows - 1) / PanelKernel.Rows * PanelKernel.Rows);
    }
}
