using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// One named adapter of one frozen weight: its trained parameters and its step of the fold. The active adapters are
/// folded over the frozen weight in the order of activation; a step takes what came before it and returns the next.
/// </summary>
public abstract class Adapter : nn.Module
{
    private protected Adapter(string name)
        : base(name)
    {
    }

    /// <summary>The options that the adapter was made with; the rank and alpha are those of this layer.</summary>
    public abstract LoraOptions Options { get; }

    /// <summary>The element type of the trained parameters.</summary>
    public abstract ScalarType DType { get; }

    /// <summary>The tensors of the adapter's file, by the part of their name that follows the module's path.</summary>
    internal abstract IReadOnlyList<KeyValuePair<string, Parameter>> FileTensors { get; }

    /// <summary>
    /// The step on outputs, in training and evaluation alike: from y = V x + b to the same of the next effective weight.
    /// </summary>
    /// <param name="y">What the fold gave so far, [tokens, out], in <see cref="DType"/>.</param>
    /// <param name="x">The layer's input, [tokens, in], in <see cref="DType"/>.</param>
    /// <param name="fold">The fold that the step is part of.</param>
    internal abstract Tensor FoldOutput(Tensor y, Tensor x, FoldContext fold);

    /// <summary>The same step on rows of the effective weight itself, in v's dtype.</summary>
    /// <param name="v">Rows of what the fold gave so far, [rows, in].</param>
    /// <param name="firstRow">The index of the first of these rows in the weight.</param>
    /// <param name="weight">The frozen weight.</param>
    internal abstract Tensor FoldRows(Tensor v, long firstRow, FrozenWeight weight);

    /// <summary>Forgets what was computed from the parameters: for changes that libtorch does not see.</summary>
    internal virtual void Invalidate()
    {
    }
}
