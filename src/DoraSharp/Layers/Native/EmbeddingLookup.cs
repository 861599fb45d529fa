using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Looks up rows as an embedding with given traits does, in any weight, without changing that weight.</summary>
/// <remarks>PEFT: <c>lora.Embedding</c>, which hands all of the base layer's options, the max norm included, to the look-up of A.</remarks>
internal sealed class EmbeddingLookup : IDisposable
{
    private readonly EmbeddingTraits traits;

    // libtorch's own look-up, with its backward pass; it has no weight of its own.
    private readonly Embedding native;

    /// <summary>Prepares look-ups.</summary>
    /// <param name="rows">The number of rows of the weights to come, V.</param>
    /// <param name="traits">The embedding's options.</param>
    public EmbeddingLookup(long rows, EmbeddingTraits traits)
    {
        ArgumentNullException.ThrowIfNull(traits);
        using var scope = NewDisposeScope();
        this.traits = traits;
        native = nn.Embedding(rows, 0, traits.PaddingIndex, scale_grad_by_freq: traits.ScaleGradByFreq, device: CPU);
        foreach (Parameter empty in native.parameters())
        {
            empty.DetachFromDisposeScope();
        }
    }

    /// <summary>The rows of a weight, clipped to the max norm.</summary>
    /// <remarks>
    /// <c>nn.Embedding</c> clips the weight itself, in place, and then looks up; here the weight stays and its rows are
    /// clipped. The clipping factor is a constant for the gradient. A gradient of the weight is dense, also where
    /// <see cref="EmbeddingTraits.Sparse"/> holds.
    /// </remarks>
    /// <param name="ids">The ids, [...], int64 or int32.</param>
    /// <param name="weight">The weight, [V, d].</param>
    /// <returns>The rows, [..., d], in the weight's dtype.</returns>
    public Tensor Base(Tensor ids, Tensor weight)
    {
        if (traits.MaxNorm is not { } maxNorm)
        {
            return Rows(ids, weight);
        }

        using var scope = NewDisposeScope();
        Tensor rows = Rows(ids, weight);
        ScalarType precise = rows.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        Tensor norms = linalg.vector_norm(rows.detach(), traits.NormType, dims: [-1], keepdim: true).to(ScalarType.Float64);
        Tensor factors = (maxNorm / (norms + 1e-7)).to(precise);
        Tensor clipped = (rows.to(precise) * factors).to(rows.dtype);
        return where(norms > maxNorm, clipped, rows).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// The columns of an adapter's A, one per id: the embedding of Aᵀ. As in PEFT the padding id does get its column,
    /// but gives it no gradient, and the gradient is divided by the frequency where the base layer's is. A is never clipped.
    /// </summary>
    /// <param name="ids">The ids, [...], int64 or int32.</param>
    /// <param name="a">A, [r, V].</param>
    /// <returns>Aᵀ at the ids, [..., r], in A's dtype.</returns>
    public Tensor LowRank(Tensor ids, Tensor a)
    {
        using Tensor transposed = a.t();
        return Rows(ids, transposed);
    }

    public void Dispose() => native.Dispose();

    private Tensor Rows(Tensor ids, Tensor weight)
    {
        lock (native)
        {
            using EmbeddingSubstitution substitution = new(native, weight);
            return native.forward(ids);
        }
    }
}
