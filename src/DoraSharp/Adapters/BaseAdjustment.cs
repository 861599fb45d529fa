using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What an adapter's initialization took out of the base weight, and the weight from before.</summary>
/// <param name="Original">The base weight from before.</param>
/// <param name="A">A as it was then.</param>
/// <param name="B">B as it was then.</param>
internal sealed record BaseAdjustment(OriginalWeight Original, Tensor A, Tensor B) : IDisposable
{
    /// <summary>Puts the new base weight in place of the old one and keeps the way back.</summary>
    public static BaseAdjustment Make(FrozenWeight weight, InitialFactors factors)
    {
        using var noGrad = no_grad();
        BaseAdjustment adjustment = new(new(weight), factors.A.clone().DetachFromDisposeScope(), factors.B.clone().DetachFromDisposeScope());
        using Tensor stored = weight.FromMatrix(factors.Residual!);
        weight.Overwrite(stored);
        return adjustment;
    }

    /// <summary>Restores the base weight, unless it is gone with its model.</summary>
    public void Undo(FrozenWeight weight)
    {
        if (!weight.Stored.IsInvalid)
        {
            Original.RestoreInto(weight);
        }
    }

    public void Dispose()
    {
        Original.Dispose();
        A.Dispose();
        B.Dispose();
    }
}
