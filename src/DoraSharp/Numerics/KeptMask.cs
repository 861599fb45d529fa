using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A mask that libtorch drew, a byte for each element: on other devices than the CPU.</summary>
/// <param name="kept">Which elements are kept; the mask takes it over.</param>
/// <param name="p">The probability with which the others were dropped.</param>
internal sealed class KeptMask(Tensor kept, double p) : DropoutMask
{
    private readonly double factor = 1 / (1 - p);

    public override Tensor Factors(Tensor like) => kept.to(like.dtype).mul_(factor).reshape(like.shape);

    public override Tensor Apply(Tensor x) => (x * kept.reshape(x.shape)).mul_(factor);

    public override void AddTo(Tensor target, Tensor y) => target.addcmul_(y, kept.reshape(y.shape), factor);

    public override DropoutMask Share() => new KeptMask(kept.alias().DetachFromDisposeScope(), p);

    public override void Dispose() => kept.Dispose();
}
