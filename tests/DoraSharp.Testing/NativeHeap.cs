using System.Runtime.InteropServices;
using Xunit;

namespace DoraSharp.Testing;

/// <summary>How many bytes the C library's allocator has given out: libtorch's CPU tensors live there, also those that only a graph holds.</summary>
public static partial class NativeHeap
{
    private const string LibC = "libc.so.6";

    /// <summary>The bytes in use; skips the test where they cannot be read.</summary>
    public static long BytesInUse()
    {
        Assert.SkipUnless(
            NativeLibrary.TryLoad(LibC, out nint library) && NativeLibrary.TryGetExport(library, "mallinfo2", out _),
            "The C library has no mallinfo2, so it cannot be seen how much native memory is in use.");
        Statistics statistics = MallInfo();
        return (long)(statistics.InUse + statistics.Mapped);
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
