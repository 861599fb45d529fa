using System.Runtime.CompilerServices;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Tells where a tensor's elements are, on any device and of any dtype.</summary>
internal static class TensorMemory
{
    /// <summary>The address of the first element. Two tensors with the same one share memory.</summary>
    public static nint Address(Tensor tensor) => Data(null, tensor.Handle);

    // TorchSharp shows addresses of some dtypes only, and makes a Storage object for each.
    [UnsafeAccessor(UnsafeAccessorKind.StaticMethod, Name = "THSTensor_data")]
    private static extern nint Data([UnsafeAccessorType("TorchSharp.PInvoke.NativeMethods, TorchSharp")] object? nativeMethods, nint tensor);
}
