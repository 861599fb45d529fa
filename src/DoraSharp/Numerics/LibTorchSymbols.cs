using System.Runtime.InteropServices;
using TorchSharp;

namespace DoraSharp;

/// <summary>Functions that libtorch, or a library that it stands on, exports and TorchSharp does not show.</summary>
internal static class LibTorchSymbols
{
    /// <summary>The address of a function; 0 where there is none of that name (other platforms, other names).</summary>
    public static nint Find(string symbol)
    {
        if (!OperatingSystem.IsLinux())
        {
            return 0;
        }

        // TorchSharp has loaded the library by its full path before; the loader finds it again by its name.
        torch.InitializeDeviceType(DeviceType.CPU);
        return NativeLibrary.TryLoad("libtorch_cpu.so", out nint library) && NativeLibrary.TryGetExport(library, symbol, out nint function) ? function : 0;
    }
}
