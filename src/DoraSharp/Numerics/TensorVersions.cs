using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Reads libtorch's version counter of a tensor: every in-place operation (an optimizer step, a copy under no_grad)
/// raises it. TorchSharp does not show it, but its handle is an <c>at::Tensor*</c> and libtorch exports the getter.
/// </summary>
internal static unsafe class TensorVersions
{
    private const string Symbol = "_ZNK2at10TensorBase8_versionEv";
    private static readonly delegate* unmanaged<nint, long> Getter = Find();

    /// <summary>False where libtorch's getter cannot be found (another platform's name mangling): then nothing may be cached.</summary>
    public static bool AreReadable => Getter is not null;

    /// <summary>The version of a tensor that <see cref="HasVersion"/>.</summary>
    public static long Of(Tensor tensor) => Getter(tensor.Handle);

    /// <summary>
    /// False for tensors made in inference mode: they have no counter, and asking for it ends the process.
    /// libtorch refuses gradients for a view of such a tensor, which can be asked safely.
    /// </summary>
    public static bool HasVersion(Tensor tensor)
    {
        using Tensor view = tensor.detach();
        if (!view.is_floating_point())
        {
            return false;
        }

        try
        {
            view.requires_grad_(true);
            return true;
        }
        catch (ExternalException)
        {
            return false;
        }
    }

    private static delegate* unmanaged<nint, long> Find()
    {
        if (!OperatingSystem.IsLinux())
        {
            return null;
        }

        // TorchSharp has loaded the library by its full path before; the loader finds it again by its name.
        torch.InitializeDeviceType(DeviceType.CPU);
        return NativeLibrary.TryLoad("libtorch_cpu.so", out nint library) && NativeLibrary.TryGetExport(library, Symbol, out nint getter)
            ? (delegate* unmanaged<nint, long>)getter
            : null;
    }
}
