using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The backward pass of one call, with what it saved of the forward pass.</summary>
internal abstract class BackwardPass
{
    /// <summary>
    /// Computes gradients. In grad mode (<c>create_graph</c>) they must be differentiable themselves. Tensors that are made here go when the pass
    /// returns, but for those in <paramref name="gradients"/>.
    /// </summary>
    /// <param name="outputGradients">The gradient of each output; <see langword="null"/> where none came.</param>
    /// <param name="gradients">Takes the gradient of each input, in order; <see langword="null"/> where there is none.</param>
    public abstract void Run(ReadOnlySpan<Tensor?> outputGradients, Span<Tensor?> gradients);

    /// <summary>Frees what was saved. The graph is gone.</summary>
    public abstract void Free();
}
