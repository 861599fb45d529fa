using TorchSharp;

namespace DoraSharp;

/// <summary>Shares work on rows out over as many threads as libtorch itself would use.</summary>
internal static class RowBlocks
{
    /// <summary>Below this number of elements a second thread costs more than it saves.</summary>
    private const long LeastElements = 1 << 16;

    /// <summary>Runs work on [first, end) of the rows, in this thread alone where they are few.</summary>
    /// <param name="rows">The number of rows.</param>
    /// <param name="width">What a row costs, in elements.</param>
    /// <param name="multiple">Blocks begin at multiples of this number.</param>
    /// <param name="work">Gets the first row and the end of a block.</param>
    public static void Run(long rows, long width, long multiple, Action<long, long> work)
    {
        long threads = Math.Min(torch.get_num_threads(), rows * width / LeastElements);
        if (threads <= 1)
        {
            work(0, rows);
            return;
        }

        long block = ((((rows + threads - 1) / threads) + multiple - 1) / multiple) * multiple;
        int blocks = (int)((rows + block - 1) / block);
        if (LibTorchTeam.Exists)
        {
            LibTorchTeam.Run(blocks, (int)threads, RunBlock);
        }
        else
        {
            Parallel.For(0, blocks, RunBlock);
        }

        void RunBlock(int index) => work(index * block, Math.Min(rows, (index + 1) * block));
    }
}
