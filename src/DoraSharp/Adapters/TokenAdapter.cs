using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Trains single rows of an embedding, which take the place of the base's: those of some tokens. PEFT: <c>trainable_token_indices</c>.</summary>
/// <remarks>
/// A step of the fold like any other: V ← V + (D − W) on the rows of these tokens, D being the trained ones. On an output head
/// that shares the embedding's weight the same rows are used: the logits of these tokens.
/// </remarks>
public sealed class TokenAdapter : Adapter
{
    private const string NameOfRows = "trainable_tokens_delta";

    private readonly long[] indices;

    // A module in a field would count as a part of this one.
    private readonly Func<TokenAdapter>? source;
    private readonly bool rowsAreOutputs;

    /// <summary>Makes an adapter whose rows start as the base's.</summary>
    /// <param name="options">The options of the adapter that it is part of.</param>
    /// <param name="indices">The tokens.</param>
    /// <param name="weight">The embedding's weight, W [d, V], or a head's, W [V, d].</param>
    /// <param name="geometry">How it is used.</param>
    /// <param name="source">The adapter of the embedding whose rows are used here as well.</param>
    internal TokenAdapter(AdapterOptions options, IReadOnlyList<int> indices, FrozenWeight weight, Geometry geometry, TokenAdapter? source)
        : base(nameof(TokenAdapter), options)
    {
        this.indices = [.. indices.Select(i => (long)i)];
        this.source = source is null ? null : () => source;
        rowsAreOutputs = geometry.Kind != LayerKind.Embedding;
        if (source is null)
        {
            using var noGrad = no_grad();
            using Tensor index = Index(weight.Device);
            using Tensor matrix = weight.Dense();
            using Tensor rows = rowsAreOutputs ? matrix.index_select(0, index) : matrix.t().index_select(0, index);
            register_parameter(NameOfRows, (Parameter)new Parameter(rows.to(ParameterType(weight.DType), copy: true)).DetachFromDisposeScope());
        }
    }

    /// <inheritdoc/>
    public override ScalarType DType => Rows.dtype;

    /// <summary>The trained rows, [tokens, d], in the order of the indices.</summary>
    public Parameter Rows => source?.Invoke().Rows ?? get_parameter(NameOfRows)!;

    internal override Adapter? TiedTo => source?.Invoke();

    internal override IReadOnlyList<FileTensor> FileTensors => source is null ? [new($"token_adapter.{NameOfRows}", Rows, Rows.shape)] : [];

    internal override Tensor FoldOutput(Tensor y, Tensor x, FoldContext fold)
    {
        Tensor index = Index(y.device);
        Tensor change = Change(fold.Weight, y.dtype);
        if (rowsAreOutputs)
        {
            return y.index_add(1, index, x.matmul(change.t()), 1);
        }

        Tensor places = full([fold.Weight.Inputs], -1L, dtype: ScalarType.Int64, device: y.device);
        places.index_copy_(0, index, arange(indices.Length, dtype: ScalarType.Int64, device: y.device));
        Tensor place = places.index_select(0, x);
        return y + where(place.ge(0).unsqueeze(1), change.index_select(0, place.clamp_min(0)), zeros(1, dtype: y.dtype, device: y.device));
    }

    internal override Tensor FoldRows(Tensor v, long firstRow, FrozenWeight weight)
    {
        Tensor change = Change(weight, v.dtype);
        if (!rowsAreOutputs)
        {
            return v.index_add(1, Index(v.device), change.t().narrow(0, firstRow, v.shape[0]), 1);
        }

        long[] here = [.. Enumerable.Range(0, indices.Length).Where(i => indices[i] >= firstRow && indices[i] < firstRow + v.shape[0]).Select(i => (long)i)];
        if (here.Length == 0)
        {
            return v;
        }

        Tensor at = tensor(here.Select(i => indices[i] - firstRow).ToArray(), device: v.device);
        return v.index_add(0, at, change.index_select(0, tensor(here, device: v.device)), 1);
    }

    /// <summary>D − W of the trained rows, [tokens, d].</summary>
    private Tensor Change(FrozenWeight weight, ScalarType dtype)
    {
        Tensor matrix = weight.Dense();
        Tensor rows = rowsAreOutputs ? matrix : matrix.t();
        return Rows.to(dtype) - rows.index_select(0, Index(rows.device)).to(dtype);
    }

    private Tensor Index(Device device) => tensor(indices, device: device);
}
