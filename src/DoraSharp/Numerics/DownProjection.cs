using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>h = s·A drop(x) as a differentiable function of an x that is not kept: A is frozen. Second derivatives of <see cref="LowRankStep"/> need it.</summary>
internal sealed class DownProjection : BackwardPass
{
    private readonly double scaling;
    private readonly DropoutMask? mask;
    private readonly ScalarType inputType;
    private readonly long[] inputShape;
    private SavedTensor? a;

    private DownProjection(Tensor x, double scaling, DropoutMask? mask) =>
        (this.scaling, this.mask, inputType, inputShape) = (scaling, mask?.Share(), x.dtype, x.shape);

    /// <summary>Makes h, which was computed without a graph and is taken over, a function of x.</summary>
    public static Tensor Attach(Tensor h, Tensor x, Tensor a, double scaling, DropoutMask? mask)
    {
        DownProjection pass = new(x, scaling, mask);
        using (h)
        {
            return GradientNode.Attach(h, [x], pass, (node, _) => pass.a = node.Save(a)).DetachFromDisposeScope();
        }
    }

    public override void Run(ReadOnlySpan<Tensor?> outputGradients, Span<Tensor?> gradients)
    {
        if (outputGradients[0] is { } dH)
        {
            Tensor dX = scaling * dH.mm(a!.Unpack());
            gradients[0] = (mask is null ? dX : dX * mask.Factors(dX)).to(inputType).reshape(inputShape);
        }
    }

    public override void Free()
    {
        a?.Free();
        a = null;
        mask?.Dispose();
    }
}
