using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>Experts with two parameters: y[e] = tanh(x[e] up_eᵀ) down_eᵀ for x [E, tokens, in].</summary>
internal sealed class GatedExperts : nn.Module<Tensor, Tensor>
{
    private readonly Parameter up;
    private readonly Parameter down;

    public GatedExperts(long count, long inFeatures, long hidden, long outFeatures)
        : base(nameof(GatedExperts))
    {
        up = new Parameter(zeros(count, hidden, inFeatures));
        down = new Parameter(zeros(count, outFeatures, hidden));
        RegisterComponents();
    }

    public override Tensor forward(Tensor input)
    {
        Tensor inner = input.bmm(up.transpose(1, 2)).tanh();
        return inner.bmm(down.transpose(1, 2));
    }
}
