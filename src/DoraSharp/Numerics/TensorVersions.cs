using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Reads libtorch's version counter of a tensor: every in-place operation (an optimizer step, a copy under no_grad)
/// raises it. TorchSharp does not show it, but its handle is an <c>at::Tensor*</c> and libtorch exports the getters.
/// </summary>
internal static unsafe class TensorVersions
{
    private static readonly delegate* unmanaged<nint, long> Getter = (delegate* unmanaged<nint, long>)LibTorchSymbols.Find("_ZNK2at10TensorBase8_versionEv");
    private static readonly delegate* unmanaged<nint, byte> IsInference = (delegate* unmanaged<nint, byte>)LibTorchSymbols.Find("_ZN2at6native12is_inferenceERKNS_6TensorE");

    /// <summary>False where libtorch's getter cannot be found (another platform's name mangling): then nothing may be cached.</summary>
    public static bool AreReadable => Getter is not null && IsInference is not null;

    /// <summary>The version of a tensor that <see cref="HasVersion"/>.</summary>
    public static long Of(Tensor tensor) => Getter(tensor.Handle);

    /// <summary>False for tensors made in inference mode: they have no counter, and asking for it ends the process.</summary>
    public static bool HasVersion(Tensor tensor) => AreReadable && IsInference(tensor.Handle) == 0;
}
