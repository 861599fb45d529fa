using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The native tensor behind a tensor object: its elements, gradient, version and place in autograd's graphs.</summary>
internal static unsafe class TensorIdentity
{
    // A handle is an at::Tensor*, and an at::Tensor is one pointer to the tensor's implementation.

    /// <summary>What two tensor objects have in common that stand for one native tensor.</summary>
    public static nint Of(Tensor tensor) => *(nint*)tensor.Handle;

    /// <summary>Lets each of two tensor objects stand for what the other one stood for. Graphs that were recorded keep what they used.</summary>
    public static void Exchange(Tensor a, Tensor b)
    {
        nint* first = (nint*)a.Handle;
        nint* second = (nint*)b.Handle;
        (*first, *second) = (*second, *first);
        GC.KeepAlive(a);
        GC.KeepAlive(b);
    }
}
