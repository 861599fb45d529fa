using System.Diagnostics;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>The clocks that steps can be timed with, in milliseconds since some moment.</summary>
internal static partial class Clocks
{
    private const int ThreadCpuTimeOnLinux = 3;

    /// <summary>The time on the wall when the device is done with what it was given.</summary>
    public static Func<double> WallOf(Device device)
    {
        return device.type == DeviceType.CUDA ? WallOfCuda : Wall;

        double WallOfCuda()
        {
            cuda.synchronize(device);
            return Wall();
        }
    }

    /// <summary>The time on the wall.</summary>
    public static double Wall() => Stopwatch.GetTimestamp() * 1e3 / Stopwatch.Frequency;

    /// <summary>
    /// The time that the calling thread has computed, on Linux: what other programs take is left out, and so is what other
    /// threads of this one do. With one libtorch thread there are none.
    /// </summary>
    public static double ThreadCpu()
    {
        if (!OperatingSystem.IsLinux())
        {
            throw new PlatformNotSupportedException("A thread's own time is read on Linux only.");
        }

        _ = GetTime(ThreadCpuTimeOnLinux, out TimeSpec time);
        return (time.Seconds * 1e3) + (time.Nanoseconds * 1e-6);
    }

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int GetTime(int clock, out TimeSpec time);

    /// <summary>The C library's struct timespec.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private readonly struct TimeSpec
    {
        public readonly nint Seconds;
        public readonly nint Nanoseconds;
    }
}
