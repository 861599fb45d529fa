using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A look-up: token ids to rows of the stored weight [V, d], which are the columns of W [d, V]. Canonical: [tokens], [tokens, d].
/// Dropout would act on one-hot vectors: it drops whole tokens' updates.
/// </summary>
/// <remarks>
/// As in PEFT a padding id gets its update and gives its column of A no gradient, and where the layer scales gradients by
/// frequency, so does A. A max norm clips what the base layer looks up and neither A nor W as it is stored, which is what
/// DoRA's norm measures (PEFT clips A as well, in place).
/// </remarks>
internal sealed class EmbeddingGeometry : Geometry
{
    private readonly EmbeddingTraits traits;
    private readonly EmbeddingLookup lookup;
    private readonly Func<Tensor, Tensor>? own;

    /// <summary>A plain look-up in a weight that the layer alone knows how to read.</summary>
    /// <param name="rows">The number of rows V.</param>
    /// <param name="own">The layer's own look-up, ids to rows.</param>
    public EmbeddingGeometry(long rows, Func<Tensor, Tensor> own)
    {
        traits = new(PaddingIndex: null, MaxNorm: null, NormType: 2, ScaleGradByFreq: false, Sparse: false);
        lookup = new(rows, traits);
        this.own = own;
    }

    /// <summary>Finds out how a layer looks up.</summary>
    /// <exception cref="NotSupportedException">It combines options that cannot be adapted, or its registered weight is not the one that it uses.</exception>
    public EmbeddingGeometry(Embedding layer)
    {
        using (Parameter running = layer.weight!)
        {
            if (layer.get_parameter("weight") is not { } registered || TensorMemory.Address(registered) != TensorMemory.Address(running))
            {
                throw new NotSupportedException(
                    "This embedding looks up in another tensor than the weight that it registers, as what nn.Embedding_from_pretrained of TorchSharp makes does: " +
                    "its state dict and its optimizer see an unrelated tensor. Make it by nn.Embedding(rows, dimension) and copy the weights into its weight.");
            }

            traits = EmbeddingTraits.Of(layer);
            lookup = new(registered.shape[0], traits);
        }
    }

    public override LayerKind Kind => LayerKind.Embedding;

    public override bool DropsInput => false;

    public override bool ForwardWritesWeight => traits.MaxNorm is not null;

    public override string? WhyNotMergeable => traits.MaxNorm is { } length
        ? $"the layer clips the rows that it looks up to the length {length} (max_norm), and would clip a merged update with them. Make the embedding without max_norm to be able to merge"
        : null;

    public override string? WhyNotSubstitutable => traits switch
    {
        { MaxNorm: not null } => "it clips the rows that it looks up (max_norm), in place and update included",
        { Sparse: true } => "its weight's gradient is sparse, which does not reach an adapter",
        _ => null,
    };

    public override (Tensor X, Tensor Z) Canonical(Tensor x, Tensor z, FrozenWeight weight) => (x.reshape(-1), z.reshape(-1, weight.Outputs));

    public override Tensor Product(Tensor x, FrozenWeight weight) => own?.Invoke(x) ?? lookup.Base(x, weight.Stored);

    public override Tensor Down(Tensor x, Tensor a, double dropout)
    {
        Tensor h = lookup.LowRank(x, a);
        return dropout > 0 ? h * InputDropout.Apply(ones([x.shape[0], 1], dtype: h.dtype, device: h.device), dropout) : h;
    }

    public override Tensor AddUp(Tensor y, Tensor h, Tensor b) => addmm(y, h, b.t(), 1, 1);

    public override Tensor PerOutput(Tensor v) => v;

    public override (string Name, long[] Shape) InFile(FactorPart part, long[] shape) => part switch
    {
        FactorPart.A => ("lora_embedding_A", shape),
        FactorPart.B => ("lora_embedding_B", shape),
        _ => base.InFile(part, shape),
    };

    public override void Dispose()
    {
        lookup.Dispose();
        base.Dispose();
    }
}
