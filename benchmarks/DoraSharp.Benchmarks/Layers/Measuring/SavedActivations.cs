using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>What a forward pass leaves in memory for the backward pass.</summary>
internal static class SavedActivations
{
    private const int Passes = 3;

    /// <summary>
    /// The bytes that are in use after a forward pass and were not before, less those of y: what is kept besides the layer's input
    /// and output. A few KB are the autograd graph's own nodes. <see langword="null"/> where the heap cannot be read, and on a GPU.
    /// </summary>
    public static long? Measure(Method method, Problem problem)
    {
        if (!NativeHeap.IsReadable || problem.Input.device_type == DeviceType.CUDA)
        {
            return null;
        }

        // What a first pass makes once and keeps, such as a cache, is no activation; a finalizer may run during any pass.
        using var gradients = set_grad_enabled(problem.Scenario.HasBackward);
        return Enumerable.Range(0, Passes).Select(_ => MeasureOnce(method, problem)).Order().ElementAt(Passes / 2);
    }

    private static long MeasureOnce(Method method, Problem problem)
    {
        using var scope = NewDisposeScope();
        long before = NativeHeap.BytesInUse();
        Tensor y = method.Forward(problem.Input);
        return Math.Max(0, NativeHeap.BytesInUse() - before - (y.numel() * y.element_size()));
    }
}
