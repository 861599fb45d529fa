using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A frozen weight W [out, in] in whatever form it is stored. A storage is one derived type;
/// adapters and layers see no more of it than this.
/// </summary>
internal abstract class FrozenWeight : IDisposable
{
    /// <summary>The scratch that row-wise work may take, in elements: on the CPU what stays in its caches.</summary>
    private const long BlockElements = 1 << 18;

    /// <summary>The same elsewhere, where small blocks cost more to ask for than to compute: 32 MB in float32.</summary>
    private const long DeviceBlockElements = 1 << 23;

    private readonly VersionedCache squaredRowNorms = new();

    /// <summary>The number of output features, W's rows.</summary>
    public abstract long Outputs { get; }

    /// <summary>The number of input features, W's columns.</summary>
    public abstract long Inputs { get; }

    /// <summary>The element type that W stands for.</summary>
    public abstract ScalarType DType { get; }

    /// <summary>Where W lives.</summary>
    public abstract Device Device { get; }

    /// <summary>The base layer's bias [out], if it has one. The frozen weight does not own it.</summary>
    public abstract Parameter? Bias { get; }

    /// <summary>The parameter that holds W, in the layer's own layout.</summary>
    public abstract Parameter Stored { get; }

    /// <summary>All tensors that W follows from: what is computed from W is kept for as long as none of them changes.</summary>
    public virtual Tensor[] Sources => [Stored];

    /// <summary>The name of that parameter in its module.</summary>
    public abstract string Name { get; }

    /// <summary>The shape of W in the layer's own layout: what <see cref="ToMatrix"/> takes.</summary>
    public abstract long[] Shape { get; }

    /// <summary>How W is quantized; <see langword="null"/> where it is not.</summary>
    public virtual QuantizationOptions? Quantization => null;

    /// <summary>Whether replacing W writes into the memory of <see cref="Stored"/>, and so changes whatever shares it.</summary>
    public virtual bool IsReplacedInPlace => true;

    /// <summary>Why an update cannot be folded into W; <see langword="null"/> if it can.</summary>
    public virtual string? WhyNotMergeable => null;

    /// <summary>W x, without bias: [..., in] to [..., out], in x's dtype, differentiable in x.</summary>
    public abstract Tensor Product(Tensor x);

    /// <summary>dY W: [tokens, out] to [tokens, in], in W's dtype; differentiable in neither.</summary>
    /// <param name="outputGradient">dY, in W's dtype.</param>
    /// <param name="stored">What <see cref="Stored"/> was in the forward pass.</param>
    public virtual Tensor BackProduct(Tensor outputGradient, Tensor stored)
    {
        using Tensor matrix = ToMatrix(stored);
        return outputGradient.mm(matrix);
    }

    /// <summary><paramref name="count"/> dense rows from <paramref name="first"/> on, [count, in]: to read, for they may be W's own memory.</summary>
    public abstract Tensor Rows(long first, long count, ScalarType dtype);

    /// <summary>A dense copy of the rows with the given indices (int64 [n]), [n, in].</summary>
    public abstract Tensor Rows(Tensor indices, ScalarType dtype);

    /// <summary>The weight as a dense tensor that takes part in autograd, [out, in].</summary>
    public abstract Tensor Dense();

    /// <summary>What <see cref="Stored"/> is or was, or a dense tensor in the layer's own layout, as a matrix [out, in].</summary>
    public abstract Tensor ToMatrix(Tensor stored);

    /// <summary>A matrix [out, in] in the layer's own layout.</summary>
    public abstract Tensor FromMatrix(Tensor matrix);

    /// <summary>Prepares the replacement of W; nothing is changed yet.</summary>
    /// <param name="matrix">The new W [out, in].</param>
    /// <param name="bias">The new bias [out]; <see langword="null"/> to keep the present one.</param>
    /// <param name="requantize">Whether a quantized weight is quantized again; it becomes dense otherwise.</param>
    public abstract WeightReplacement Replace(Tensor matrix, Tensor? bias, bool requantize);

    /// <summary>The same by a weight that is quantized already and becomes this one's, or is given back with the exception.</summary>
    /// <exception cref="NotSupportedException">W is not quantized.</exception>
    public virtual WeightReplacement Replace(QuantizedTensor quantized) => throw new NotSupportedException("A dense weight cannot be replaced by a quantized one.");

    /// <summary>W Aᵀ [out, r] for A [r, in], in A's dtype, never through a dense copy of W in another dtype.</summary>
    public virtual Tensor Project(Tensor a) => ByRowBlocks(a.dtype, block => block.matmul(a.t()));

    /// <summary>‖W‖² per row in float64, [out]. Computed once for as long as W does not change.</summary>
    public Tensor SquaredRowNorms() =>
        squaredRowNorms.GetOrCompute(Sources, ComputeSquaredRowNorms);

    /// <summary>Runs <paramref name="map"/> over blocks of rows in <paramref name="dtype"/> and joins the results along the rows.</summary>
    public Tensor ByRowBlocks(ScalarType dtype, Func<Tensor, Tensor> map) => ByRowBlocks(dtype, (block, _) => map(block));

    /// <summary>The same; <paramref name="map"/> also gets the index of the block's first row.</summary>
    public Tensor ByRowBlocks(ScalarType dtype, Func<Tensor, long, Tensor> map)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        long elements = Device.type == TorchSharp.DeviceType.CPU ? BlockElements : DeviceBlockElements;
        long step = Math.Clamp(elements / Math.Max(Inputs, 1), 1, Math.Max(Outputs, 1));
        List<Tensor> parts = [];
        for (long first = 0; first == 0 || first < Outputs; first += step)
        {
            using var blockScope = NewDisposeScope();
            parts.Add(map(Rows(first, Math.Min(step, Outputs - first), dtype), first).MoveToOuterDisposeScope());
        }

        return (parts.Count == 1 ? parts[0] : cat(parts, dim: 0)).MoveToOuterDisposeScope();
    }

    /// <summary>Lets requests for the state of the module that holds W be noted (<see cref="StateRequests"/>) until the result is disposed; <see langword="null"/> where they are anyway.</summary>
    public virtual IDisposable? WatchState() => null;

    /// <summary>Forgets what was computed from W: for changes that libtorch does not see.</summary>
    public void Invalidate() => squaredRowNorms.Clear();

    public void Dispose() => squaredRowNorms.Dispose();

    private protected virtual Tensor ComputeSquaredRowNorms() => ByRowBlocks(ScalarType.Float64, block => block.square().sum(dim: 1));
}
