using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A frozen weight's bits from before a merge.</summary>
internal sealed class OriginalWeight : IDisposable
{
    private readonly Tensor bits;

    public OriginalWeight(FrozenWeight weight)
    {
        using var noGrad = no_grad();
        bits = weight.Dense().clone().DetachFromDisposeScope();
    }

    public void RestoreInto(FrozenWeight weight) => weight.Overwrite(bits);

    public void Dispose() => bits.Dispose();
}
