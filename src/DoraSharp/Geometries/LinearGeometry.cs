using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>x [..., in] to W x [..., out]: linear layers, whatever the layout in which they are stored. Canonical: [tokens, in], [tokens, out].</summary>
internal class LinearGeometry(LayerKind kind, long inputs) : Geometry
{
    public override LayerKind Kind => kind;

    public override void CheckInput(Tensor x)
    {
        if (x.dim() == 0 || x.size(-1) != inputs)
        {
            throw new ArgumentException($"The layer takes [..., {inputs}]; the input is [{string.Join(", ", x.shape)}].", nameof(x));
        }
    }

    public override (Tensor X, Tensor Z) Canonical(Tensor x, Tensor z, FrozenWeight weight) =>
        (x.reshape(-1, weight.Inputs), z.reshape(-1, z.shape[^1]));

    public override Tensor Product(Tensor x, FrozenWeight weight) => weight.Product(x);

    public override Tensor Down(Tensor x, Tensor a, double dropout) => (dropout > 0 ? InputDropout.Apply(x, dropout) : x).matmul(a.t());

    public override Tensor AddUp(Tensor y, Tensor h, Tensor b) => addmm(y, h, b.t(), 1, 1);

    public override Tensor PerOutput(Tensor v) => v;
}
