using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;

namespace DoraSharp.Benchmarks;

/// <summary>The first GPU's memory as the driver's tool tells it: libtorch's own statistics are out of TorchSharp's reach.</summary>
internal static class GpuMemory
{
    private const long BytesPerMebibyte = 1 << 20;

    /// <summary>
    /// What all processes use. libtorch's allocator keeps what it took, so at the end of a process alone on its GPU this is the
    /// peak. <see langword="null"/> without nvidia-smi.
    /// </summary>
    public static long? UsedBytes() =>
        long.TryParse(Query("memory.used"), CultureInfo.InvariantCulture, out long mebibytes) ? mebibytes * BytesPerMebibyte : null;

    /// <summary>The GPU's name; <see langword="null"/> without nvidia-smi.</summary>
    public static string? Name() => Query("name");

    private static string? Query(string field)
    {
        try
        {
            using Process? query = Process.Start(new ProcessStartInfo("nvidia-smi", [$"--query-gpu={field}", "--format=csv,noheader,nounits", "--id=0"]) { RedirectStandardOutput = true });
            string? output = query?.StandardOutput.ReadToEnd().Trim();
            query?.WaitForExit();
            return query?.ExitCode == 0 ? output : null;
        }
        catch (Win32Exception)
        {
            return null; // No such tool here.
        }
    }
}
