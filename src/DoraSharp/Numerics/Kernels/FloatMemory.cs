using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The memory of a float32 tensor on the CPU without gaps, for kernels of this library. It lives as long as the tensor does.</summary>
internal static unsafe class FloatMemory
{
    /// <summary>Whether a tensor is one.</summary>
    public static bool Serves(Tensor tensor) => tensor.dtype == ScalarType.Float32 && tensor.device_type == TorchSharp.DeviceType.CPU && tensor.is_contiguous();

    /// <summary>The first element.</summary>
    public static float* Of(Tensor tensor) => (float*)TensorMemory.Address(tensor);
}
