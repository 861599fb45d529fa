using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>How many bytes the C library's allocator has given out: libtorch's CPU tensors live there.</summary>
internal static partial class NativeHeap
{
    private const string LibC = "libc.so.6";

    /// <summary>False where glibc's mallinfo2 is missing, or does not see libtorch's tensors.</summary>
    public static bool IsReadable { get; } = Probe();

    public static long BytesInUse()
    {
        Statistics statistics = MallInfo();
        return (long)(statistics.InUse + statistics.Mapped);
    }

    private static bool Probe()
    {
        if (!NativeLibrary.TryLoad(LibC, out nint library) || !NativeLibrary.TryGetExport(library, "mallinfo2", out _))
        {
            return false;
        }

        long before = BytesInUse();
        using Tensor megabyte = empty(1 << 20, dtype: ScalarType.Byte);
        return BytesInUse() - before >= 1 << 20;
    }

    [LibraryImport(LibC, EntryPoint = "mallinfo2")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial Statistics MallInfo();

    /// <summary>glibc's struct mallinfo2, in its order.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private readonly struct Statistics
    {
        private readonly nuint arena;
        private readonly nuint freeChunks;
        private readonly nuint fastChunks;
        private readonly nuint mappedRegions;
        public readonly nuint Mapped;
        private readonly nuint unused;
        private readonly nuint fastBytes;
        public readonly nuint InUse;
        private readonly nuint free;
        private readonly nuint releasable;
    }
}
