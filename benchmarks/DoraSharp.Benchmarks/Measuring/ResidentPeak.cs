using System.Globalization;
using System.Runtime.InteropServices;

namespace DoraSharp.Benchmarks;

/// <summary>This process's peak resident memory, from a moment on (Linux).</summary>
internal static partial class ResidentPeak
{
    private const string LibC = "libc.so.6";
    private const string PeakKey = "VmHWM:";
    private const long BytesPerKilobyte = 1024;

    /// <summary>Gives back what is free, and makes the present size the peak.</summary>
    /// <returns>False where the system cannot do that.</returns>
    public static bool TryReset()
    {
        if (!OperatingSystem.IsLinux() || !NativeLibrary.TryLoad(LibC, out _))
        {
            return false;
        }

        GC.Collect();
        GC.WaitForPendingFinalizers();
        _ = Trim(0);
        try
        {
            const string ResetPeak = "5";
            File.WriteAllText("/proc/self/clear_refs", ResetPeak);
            return true;
        }
        catch (IOException)
        {
            return false;
        }
        catch (UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>The peak since <see cref="TryReset"/>, in bytes.</summary>
    public static long Bytes()
    {
        string line = File.ReadLines("/proc/self/status").First(text => text.StartsWith(PeakKey, StringComparison.Ordinal));
        string kilobytes = line[PeakKey.Length..].Replace("kB", string.Empty, StringComparison.Ordinal).Trim();
        return long.Parse(kilobytes, CultureInfo.InvariantCulture) * BytesPerKilobyte;
    }

    [LibraryImport(LibC, EntryPoint = "malloc_trim")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Trim(nuint keep);
}
