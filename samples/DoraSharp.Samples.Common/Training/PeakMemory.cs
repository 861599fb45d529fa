using System.Runtime.InteropServices;

namespace DoraSharp.Samples;

/// <summary>
/// Measures by how much the process's resident memory rises at most, looking every few milliseconds. TorchSharp has no
/// count of the memory that tensors take on a CPU.
/// </summary>
public sealed class PeakMemory : IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(5);

    private readonly long start;
    private readonly Timer timer;
    private long highest;

    /// <summary>Starts to measure from the memory in use now, after freed memory went back to the system.</summary>
    public PeakMemory()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        ReturnFreedMemory();
        highest = start = Environment.WorkingSet;
        timer = new Timer(_ => Look(), null, Interval, Interval);
    }

    /// <summary>The highest rise so far, in units of 2^20 bytes.</summary>
    public double Megabytes
    {
        get
        {
            Look();
            return (Interlocked.Read(ref highest) - start) / (1024.0 * 1024.0);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => timer.Dispose();

    private void Look()
    {
        long now = Environment.WorkingSet;
        long before;
        while (now > (before = Interlocked.Read(ref highest)) && Interlocked.CompareExchange(ref highest, now, before) != before)
        {
        }
    }

    /// <summary>glibc keeps freed blocks for later, which would hide what the next method needs.</summary>
    private static void ReturnFreedMemory()
    {
        if (OperatingSystem.IsLinux() && NativeLibrary.TryLoad("libc.so.6", out nint libc)
            && NativeLibrary.TryGetExport(libc, "malloc_trim", out nint trim))
        {
            Marshal.GetDelegateForFunctionPointer<MallocTrim>(trim)(0);
        }
    }

    private delegate int MallocTrim(nuint padding);
}
