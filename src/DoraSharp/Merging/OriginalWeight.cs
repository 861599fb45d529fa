using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A frozen weight's bits from before a merge, and its bias's.</summary>
internal sealed class OriginalWeight : IDisposable
{
    private readonly Tensor bits;
    private readonly Tensor? biasBits;

    public OriginalWeight(FrozenWeight weight)
    {
        using var noGrad = no_grad();
        bits = weight.Stored.clone().DetachFromDisposeScope();
        biasBits = weight.Bias?.clone().DetachFromDisposeScope();
    }

    /// <summary>The weight, in the layer's own layout.</summary>
    public Tensor Bits => bits;

    /// <summary>The bias, if the layer has one.</summary>
    public Tensor? BiasBits => biasBits;

    public void RestoreInto(FrozenWeight weight)
    {
        weight.Overwrite(bits);
        if (biasBits is not null)
        {
            using var noGrad = no_grad();
            weight.Bias!.copy_(biasBits);
        }
    }

    public void Dispose()
    {
        bits.Dispose();
        biasBits?.Dispose();
    }
}
