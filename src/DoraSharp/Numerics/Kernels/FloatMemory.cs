using System.Runtime.Intrinsics;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The memory of a float32 tensor on the CPU without gaps, for kernels of this library. It lives as long as the tensor does.</summary>
internal static unsafe class FloatMemory
{
    /// <summary>Whether a tensor is one.</summary>
    public static bool Serves(Tensor tensor) => Vector256.IsHardwareAccelerated &&
        tensor.dtype == ScalarType.Float32 && tensor.device_type == TorchSharp.DeviceType.CPU && tensor.is_contiguous();

    /// <summary>The first element; <see langword="null"/> where there is no tensor.</summary>
    public static float* Of(Tensor? tensor) => tensor is null ? null : (float*)TensorMemory.Address(tensor);
}
