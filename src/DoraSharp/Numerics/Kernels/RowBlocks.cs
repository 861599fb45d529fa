using TorchSharp;

namespace DoraSharp;

/// <summary>Shares work on rows out over as many threads as libtorch itself would use.</summary>
/// <param name="rows">The number of rows.</param>
/// <param name="width">What a row costs, in elements.</param>
/// <param name="multiple">Shares begin at multiples of this number.</param>
internal readonly struct RowBlocks(long rows, long width, long multiple)
{
    /// <summary>Below this number of elements a second thread costs more than it saves.</summary>
    private const long LeastElements = 1 << 15;

    private readonly long share = SizeOfShare(rows, width, multiple);

    /// <summary>The number of shares.</summary>
    public int Shares => (int)Math.Max((rows + share - 1) / share, 1);

    /// <summary>Runs work on [first, end) of the rows, in this thread alone where they are few.</summary>
    /// <param name="rows">The number of rows.</param>
    /// <param name="width">What a row costs, in elements.</param>
    /// <param name="multiple">Blocks begin at multiples of this number.</param>
    /// <param name="work">Gets the first row and the end of a block.</param>
    public static void Run(long rows, long width, long multiple, Action<long, long> work) =>
        new RowBlocks(rows, width, multiple).Run((_, first, end) => work(first, end));

    /// <summary>Runs work on each share.</summary>
    /// <param name="work">Gets the share's index, its first row and its end.</param>
    public void Run(Action<int, long, long> work)
    {
        if (Shares == 1)
        {
            work(0, 0, rows);
            return;
        }

        (long all, long size) = (rows, share);
        if (LibTorchTeam.Exists)
        {
            LibTorchTeam.Run(Shares, Shares, RunShare);
        }
        else
        {
            Parallel.For(0, Shares, RunShare);
        }

        void RunShare(int index) => work(index, index * size, Math.Min(all, (index + 1) * size));
    }

    private static long SizeOfShare(long rows, long width, long multiple)
    {
        long threads = Math.Max(Math.Min(torch.get_num_threads(), rows * width / LeastElements), 1);
        return Math.Max((((rows + threads - 1) / threads) + multiple - 1) / multiple * multiple, 1);
    }
}
