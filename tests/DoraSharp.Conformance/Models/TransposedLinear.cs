using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>transformers' <c>Conv1D</c>: y = x weight + bias, weight [in, out].</summary>
internal sealed class TransposedLinear : nn.Module<Tensor, Tensor>
{
    private readonly Parameter weight;
    private readonly Parameter bias;

    public TransposedLinear(long inFeatures, long outFeatures)
        : base(nameof(TransposedLinear))
    {
        weight = new Parameter(zeros(inFeatures, outFeatures));
        bias = new Parameter(zeros(outFeatures));
        RegisterComponents();
    }

    public override Tensor forward(Tensor input) => input.matmul(weight) + bias;
}
