using System.Globalization;
using Xunit;

namespace DoraSharp.Testing;

/// <summary>The most resident memory that a piece of work takes on top of what the process has.</summary>
/// <remarks>Exact to some megabytes. Blocks above 32 MB are seen for certain: the C library gets them from the kernel and gives them back each time.</remarks>
public static class PeakMemory
{
    private const string Reset = "/proc/self/clear_refs";

    /// <summary>Measures it; skips the test where the kernel does not tell.</summary>
    public static long Of(Action work)
    {
        Assert.SkipUnless(File.Exists(Reset), "Only Linux tells a process's peak memory and lets it be reset.");
        GC.Collect();
        GC.WaitForPendingFinalizers();
        File.WriteAllText(Reset, "5");
        long before = KiB("VmRSS:");
        work();
        return Math.Max(0, KiB("VmHWM:") - before) * 1024;
    }

    private static long KiB(string field) =>
        long.Parse(File.ReadLines("/proc/self/status").First(line => line.StartsWith(field, StringComparison.Ordinal))[field.Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture);
}
