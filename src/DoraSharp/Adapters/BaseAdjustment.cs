using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What an adapter's initialization took out of the base weight, and the way back to the weight from before.</summary>
/// <param name="Base">The new base weight, which has taken the place of the old one.</param>
/// <param name="A">A as it was then.</param>
/// <param name="B">B as it was then.</param>
internal sealed record BaseAdjustment(WeightReplacement Base, Tensor A, Tensor B) : IDisposable
{
    /// <summary>Puts the new base weight in place of the old one and keeps the way back.</summary>
    public static BaseAdjustment Make(FrozenWeight weight, InitialFactors factors)
    {
        using var noGrad = no_grad();
        BaseAdjustment adjustment = new(
            factors.Quantized is { } quantized ? weight.Replace(quantized) : weight.Replace(factors.Residual!, bias: null, requantize: true), factors.A.clone().DetachFromDisposeScope(), factors.B.clone().DetachFromDisposeScope());
        try
        {
            adjustment.Base.Apply();
            return adjustment;
        }
        catch
        {
            adjustment.Dispose();
            throw;
        }
    }

    /// <summary>Restores the base weight, unless it is gone with its model.</summary>
    public void Undo(FrozenWeight weight)
    {
        if (!weight.Stored.IsInvalid)
        {
            Base.Revert();
        }
    }

    public void Dispose()
    {
        Base.Dispose();
        A.Dispose();
        B.Dispose();
    }
}
