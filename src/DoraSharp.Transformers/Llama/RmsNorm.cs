using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>x / √(mean(x²) + ε) · weight (arXiv 1910.07467), normalised in float32 and cast back before the weight.</summary>
internal sealed class RmsNorm : nn.Module<Tensor, Tensor>
{
    [ComponentName(Name = "weight")]
    private readonly Parameter weight;
    private readonly double epsilon;

    public RmsNorm(long size, double epsilon, Device? device, ScalarType dtype) : base(nameof(RmsNorm))
    {
        this.epsilon = epsilon;
        weight = new Parameter(ones(size, dtype: dtype, device: device));
        weight.DetachFromDisposeScope();
        RegisterComponents();
    }

    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        Tensor wide = input.to(ScalarType.Float32);
        Tensor inverse = (wide.square().mean([-1], keepdim: true) + epsilon).rsqrt();
        return ((wide * inverse).to(input.dtype) * weight).MoveToOuterDisposeScope();
    }
}
