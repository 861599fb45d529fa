using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>The experts of a mixture in one parameter: y[e] = x[e] W_e for x [E, tokens, in].</summary>
internal sealed class Experts : nn.Module<Tensor, Tensor>
{
    private readonly Parameter weight;

    public Experts(long count, long inFeatures, long outFeatures, bool isTransposed)
        : base(nameof(Experts))
    {
        IsTransposed = isTransposed;
        weight = new Parameter(isTransposed ? zeros(count, inFeatures, outFeatures) : zeros(count, outFeatures, inFeatures));
        RegisterComponents();
    }

    /// <summary>Whether the weight is [E, in, out], not [E, out, in].</summary>
    public bool IsTransposed { get; }

    public override Tensor forward(Tensor input) => input.bmm(IsTransposed ? weight : weight.transpose(1, 2));
}
