using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>What a forward pass leaves in memory for the backward pass.</summary>
internal static class SavedActivations
{
    /// <summary>
    /// The bytes that are in use after a forward pass and were not before, less those of y: what is kept besides the layer's input
    /// and output. A few KB are the autograd graph's own nodes. <see langword="null"/> where the heap cannot be read.
    /// </summary>
    public static long? Measure(Method method, Problem problem)
    {
        if (!NativeHeap.IsReadable)
        {
            return null;
        }

        using var gradients = set_grad_enabled(problem.Scenario.HasBackward);
        using var scope = NewDisposeScope();
        long before = NativeHeap.BytesInUse();
        Tensor y = method.Forward(problem.Input);
        return Math.Max(0, NativeHeap.BytesInUse() - before - (y.numel() * y.element_size()));
    }
}
