using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace DoraSharp;

/// <summary>Runs work on the threads that libtorch's own operations run on: GNU OpenMP's, by the entry points that compilers call.</summary>
/// <remarks>
/// After each operation those threads wait for the next one by spinning. Other threads beside them would have to share the processors with
/// that, and waking them takes longer than a small kernel runs.
/// </remarks>
internal static unsafe class LibTorchTeam
{
    private static readonly delegate* unmanaged<delegate* unmanaged<nint, void>, nint, uint, uint, void> Start =
        (delegate* unmanaged<delegate* unmanaged<nint, void>, nint, uint, uint, void>)LibTorchSymbols.Find("GOMP_parallel");

    private static readonly delegate* unmanaged<int> Number = (delegate* unmanaged<int>)LibTorchSymbols.Find("omp_get_thread_num");
    private static readonly delegate* unmanaged<int> Size = (delegate* unmanaged<int>)LibTorchSymbols.Find("omp_get_num_threads");

    /// <summary>Whether this libtorch has such threads.</summary>
    public static bool Exists => Start is not null && Number is not null && Size is not null;

    /// <summary>Runs work for each index below <paramref name="count"/>, and returns when all of it is done.</summary>
    /// <param name="count">The number of pieces of work.</param>
    /// <param name="threads">The most threads to use.</param>
    /// <param name="work">Gets an index.</param>
    public static void Run(int count, int threads, Action<int> work)
    {
        Job job = new(count, work);
        GCHandle handle = GCHandle.Alloc(job);
        try
        {
            Start(&RunShare, GCHandle.ToIntPtr(handle), (uint)threads, 0);
        }
        finally
        {
            handle.Free();
        }

        job.Error?.Throw();
    }

    /// <summary>One thread's share: fixed, so that a sum of partial sums never depends on who was faster.</summary>
    [UnmanagedCallersOnly]
    private static void RunShare(nint handle)
    {
        var job = (Job)GCHandle.FromIntPtr(handle).Target!;
        try
        {
            int step = Size();
            for (int index = Number(); index < job.Count; index += step)
            {
                job.Work(index);
            }
        }
#pragma warning disable CA1031 // Whatever it is, it must not reach OpenMP's frames: the process would end.
        catch (Exception e)
#pragma warning restore CA1031
        {
            job.Error = ExceptionDispatchInfo.Capture(e);
        }
    }

    private sealed class Job(int count, Action<int> work)
    {
        public int Count { get; } = count;

        public Action<int> Work { get; } = work;

        public ExceptionDispatchInfo? Error { get; set; }
    }
}
