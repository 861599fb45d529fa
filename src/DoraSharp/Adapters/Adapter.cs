using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// One named adapter of one frozen weight: its trained parameters and its step of the fold. The active adapters are
/// folded over the frozen weight in the order of activation; a step takes what came before it and returns the next.
/// </summary>
public abstract class Adapter : nn.Module
{
    private protected Adapter(string name, AdapterOptions options)
        : base(name) => Options = options;

    // A covariant override would give a type two properties of one name, on which TorchSharp's to(...) fails.

    /// <summary>The adapter's options; the rank and alpha are those of this layer.</summary>
    public AdapterOptions Options { get; internal set; }

    /// <summary>The element type of the trained parameters.</summary>
    public abstract ScalarType DType { get; }

    /// <summary>The tensors of the adapter's file.</summary>
    internal abstract IReadOnlyList<FileTensor> FileTensors { get; }

    /// <summary>The adapter's own bias [out], which the fold adds to the layer's; <see langword="null"/> if it has none.</summary>
    internal virtual Tensor? Bias => null;

    /// <summary>The adapter whose parameters this one uses, since the weights of both are one.</summary>
    internal virtual Adapter? TiedTo => null;

    /// <summary>Whether the fold can give outputs; if not, only <see cref="FoldRows"/> serves.</summary>
    internal virtual bool FoldsOutputs => true;

    /// <summary>
    /// The step on outputs, in training and evaluation alike: from y = V x + b to the same of the next effective weight.
    /// </summary>
    /// <param name="y">What the fold gave so far, a canonical output in <see cref="DType"/>.</param>
    /// <param name="x">The layer's canonical input, in <see cref="DType"/> unless it holds ids.</param>
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

    /// <inheritdoc/>
    public override IEnumerable<(string name, Tensor buffer)> named_buffers(bool recurse = true, bool include_nonpersistent = true)
    {
        StateRequests.Note();
        return base.named_buffers(recurse, include_nonpersistent);
    }

    /// <summary>The dtype in which a weight is adapted: float32 for half-precision weights, since an update is below half their unit in the last place.</summary>
    /// <exception cref="NotSupportedException">Such weights cannot be adapted.</exception>
    internal static ScalarType ParameterType(ScalarType weight) => weight switch
    {
        ScalarType.Float64 => ScalarType.Float64,
        ScalarType.Float32 or ScalarType.BFloat16 or ScalarType.Float16 => ScalarType.Float32,
        _ => throw new NotSupportedException($"A frozen weight of dtype {weight} cannot be adapted; float64, float32, bfloat16 and float16 can."),
    };
}
