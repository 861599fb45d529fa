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
