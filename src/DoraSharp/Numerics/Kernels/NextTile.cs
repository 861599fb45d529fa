using System.Runtime.Intrinsics.X86;

namespace DoraSharp;

/// <summary>Fetches the tile that comes next from far memory while the products of the present one keep the processor busy: what follows a tile's row is too far away for processors to guess.</summary>
/// <param name="first">The next tile's first element in the whole matrix.</param>
/// <param name="second">The same in another matrix of that shape, if there is one.</param>
/// <param name="stride">From a row of the matrices to the next one.</param>
/// <param name="rows">The tile's rows.</param>
internal readonly unsafe struct NextTile(float* first, float* second, nint stride, int rows)
{
    private const int LineOfFloats = 16;

    private readonly float* first = first;
    private readonly float* second = second;
    private readonly nint stride = stride;

    /// <summary>The tile after another one: the next columns of the same rows, or the first columns of the next rows.</summary>
    /// <param name="matrix">[rows, stride].</param>
    /// <param name="other">Another matrix of that shape, if there is one.</param>
    /// <param name="stride">Their columns.</param>
    /// <param name="rows">Their rows.</param>
    /// <param name="row">The tile's first row.</param>
    /// <param name="count">Its rows.</param>
    /// <param name="column">Its first column.</param>
    /// <param name="first">The first column of all tiles.</param>
    /// <param name="end">The end of all tiles' columns.</param>
    public static NextTile After(float* matrix, float* other, long stride, long rows, long row, int count, long column, long first, long end)
    {
        column += TokenBlocks.TileWidth;
        if (column >= end)
        {
            column = first;
            row += count;
        }

        nint start = (nint)((row * stride) + column);
        return new(matrix + start, other is null ? null : other + start, (nint)stride, (int)Math.Min(count, rows - row));
    }

    /// <summary>Asks for a share of the rows.</summary>
    /// <param name="share">Which one.</param>
    /// <param name="shares">Of how many.</param>
    public void Fetch(int share, int shares)
    {
        for (int row = rows * share / shares; row < rows * (share + 1) / shares; row++)
        {
            for (int column = 0; column < TokenBlocks.TileWidth; column += LineOfFloats)
            {
                nint index = (row * stride) + column;
                Sse.Prefetch1(first + index);
                if (second is not null)
                {
                    Sse.Prefetch1(second + index);
                }
            }
        }
    }
}
