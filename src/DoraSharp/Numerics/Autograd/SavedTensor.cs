using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A tensor that a <see cref="GradientNode"/> keeps for its backward pass, as libtorch's own nodes do: with its place in the graph, and
/// refusing to give it back after it was changed in place.
/// </summary>
internal sealed class SavedTensor(nint saved, GradientNode node)
{
    private nint saved = saved;

    /// <summary>The tensor, by a new handle.</summary>
    /// <exception cref="System.Runtime.InteropServices.ExternalException">It was changed in place.</exception>
    public Tensor Unpack()
    {
        nint tensor = LibTorchNode.Unpack(saved, node.Pointers);
        CheckForErrors();
        return Tensor.UnsafeCreateTensor(tensor);
    }

    public void Free()
    {
        LibTorchNode.Forget(saved);
        saved = 0;
    }
}
