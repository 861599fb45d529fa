namespace DoraSharp.Testing;

/// <summary>The most native memory that is in use at once while something runs, on top of what was in use before.</summary>
/// <remarks>A second thread looks all the time: what lives for a millisecond is seen.</remarks>
public static class PeakMemory
{
    /// <summary>Measures it; skips the test where the C library does not tell.</summary>
    public static long Of(Action work)
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        long before = NativeHeap.BytesInUse();
        long peak = before;
        bool isDone = false;
        Thread watcher = new(() =>
        {
            while (!Volatile.Read(ref isDone))
            {
                peak = Math.Max(peak, NativeHeap.BytesInUse());
            }
        });
        watcher.Start();
        try
        {
            work();
        }
        finally
        {
            Volatile.Write(ref isDone, true);
            watcher.Join();
        }

        return peak - before;
    }
}
