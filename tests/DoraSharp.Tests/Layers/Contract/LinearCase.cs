using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Contract;

/// <summary>y = x Wᵀ, stored as W or transposed.</summary>
internal sealed class LinearCase(string name, bool transposed, bool hasBias, long[] batch) : LayerCase(name)
{
    private const long In = 13;
    private const long Out = 17;

    public override nn.Module<Tensor, Tensor> Make()
    {
        if (!transposed)
        {
            return nn.Linear(In, Out, hasBias);
        }

        TransposedLinear layer = new(In, Out, hasBias);
        using var noGrad = no_grad();
        layer.weight.normal_(0, 0.3);
        layer.bias?.normal_();
        return layer;
    }

    public override Tensor Input() => randn([.. batch, In]);

    public override Tensor Matrix(Tensor stored) => transposed ? stored.t() : stored;

    public override Tensor Product(Tensor x, Tensor matrix) => x.matmul(matrix.t());
}
