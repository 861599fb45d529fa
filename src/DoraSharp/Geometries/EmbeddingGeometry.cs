using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A look-up: token ids to rows of the stored weight [V, d], which are the columns of W [d, V]. Canonical: [tokens], [tokens, d].
/// Dropout would act on one-hot vectors: it drops whole tokens' updates.
/// </summary>
internal sealed class EmbeddingGeometry : Geometry
{
    public override LayerKind Kind => LayerKind.Embedding;

    public override bool DropsInput => false;

    public override (Tensor X, Tensor Z) Canonical(Tensor x, Tensor z, FrozenWeight weight) => (x.reshape(-1), z.reshape(-1, weight.Outputs));

    public override Tensor Product(Tensor x, FrozenWeight weight) => weight.Stored.index_select(0, x);

    public override Tensor Down(Tensor x, Tensor a, double dropout)
    {
        Tensor h = a.t().index_select(0, x);
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
}
