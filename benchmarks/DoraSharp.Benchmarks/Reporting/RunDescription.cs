using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>What a reader needs to know of a run: machine, command, commit.</summary>
internal static class RunDescription
{
    private const double BytesPerGiB = 1L << 30;

    /// <summary>One line each, without the time that the run took.</summary>
    public static IReadOnlyList<string> Lines(RunSettings settings, IReadOnlyList<string> arguments) =>
    [
        $"Command: `dotnet run -c Release --project benchmarks/DoraSharp.Benchmarks -- {string.Join(' ', arguments)}`",
        string.Create(CultureInfo.InvariantCulture, $"Machine: {Environment.ProcessorCount} cores of {Processor()}, {GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / BytesPerGiB:f0} GiB, {RuntimeInformation.OSDescription.Trim()}"),
        $"Software: .NET {Environment.Version}, libtorch {__version__}; {settings}{Gpu(settings.Device)}",
        $"Commit: {Commit()}",
    ];

    private static string Gpu(Device device) =>
        device.type == DeviceType.CUDA && GpuMemory.Name() is { } name ? $", {name}" : string.Empty;

    private static string Processor()
    {
        const string Key = "model name";
        const string Listing = "/proc/cpuinfo";
        string? line = File.Exists(Listing) ? File.ReadLines(Listing).FirstOrDefault(text => text.StartsWith(Key, StringComparison.Ordinal)) : null;
        return $"{line?.Split(':', 2)[1].Trim() ?? RuntimeInformation.ProcessArchitecture.ToString()} ({string.Join(", ", Instructions())})";
    }

    /// <summary>The instructions that matter to libtorch's kernels.</summary>
    private static IEnumerable<string> Instructions() =>
        new (string Name, bool IsSupported)[]
        {
            ("AVX-512", System.Runtime.Intrinsics.X86.Avx512F.IsSupported),
            ("AVX2", System.Runtime.Intrinsics.X86.Avx2.IsSupported),
            ("NEON", System.Runtime.Intrinsics.Arm.AdvSimd.IsSupported),
        }.Where(entry => entry.IsSupported).Select(entry => entry.Name);

    private static string Commit() =>
        Git("rev-parse", "--short=12", "HEAD") is { Length: > 0 } commit
            ? commit + (Git("status", "--porcelain", "--untracked-files=no") is { Length: > 0 } ? " and uncommitted changes" : string.Empty)
            : "unknown";

    private static string? Git(params string[] arguments)
    {
        try
        {
            using Process? git = Process.Start(new ProcessStartInfo("git", arguments) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = AppContext.BaseDirectory });
            string? output = git?.StandardOutput.ReadToEnd().Trim();
            git?.WaitForExit();
            return git?.ExitCode == 0 ? output : null;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null; // No git on this machine.
        }
    }
}
