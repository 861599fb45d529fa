using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>A layer that the library does not know: y = x kernelᵀ, kernel [out, in].</summary>
internal sealed class RawLinear : nn.Module<Tensor, Tensor>
{
    private readonly Parameter kernel;

    public RawLinear(long inFeatures, long outFeatures)
        : base(nameof(RawLinear))
    {
        kernel = new Parameter(zeros(outFeatures, inFeatures));
        RegisterComponents();
    }

    public override Tensor forward(Tensor input) => input.matmul(kernel.t());
}
