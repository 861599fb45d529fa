using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A mask that is given as factors.</summary>
/// <param name="factors">0 or 1/(1 − p) for each element; the mask takes it over.</param>
internal sealed class GivenMask(Tensor factors) : DropoutMask
{
    public override Tensor Factors(Tensor like) => factors.to(like.dtype).reshape(like.shape);

    public override DropoutMask Share() => new GivenMask(factors.alias().DetachFromDisposeScope());

    public override void Dispose() => factors.Dispose();
}
