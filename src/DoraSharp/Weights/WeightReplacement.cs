using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// What is going to take a frozen weight's place, and its bias's, and the way back, which brings bits back instead of
/// subtracting. A storage that can be replaced has a derived type.
/// </summary>
internal abstract class WeightReplacement : IDisposable
{
    private readonly FrozenWeight weight;
    private readonly Tensor? newBias;
    private readonly Tensor? bias;

    /// <summary>Keeps what the bias is now.</summary>
    /// <param name="weight">The weight that is going to be replaced.</param>
    /// <param name="newBias">The new bias, which becomes this object's; <see langword="null"/> to keep the present one.</param>
    protected WeightReplacement(FrozenWeight weight, Tensor? newBias)
    {
        using var noGrad = no_grad();
        this.weight = weight;
        this.newBias = newBias?.DetachFromDisposeScope();
        bias = weight.Bias?.clone().DetachFromDisposeScope();
    }

    /// <summary>What <see cref="FrozenWeight.Stored"/> holds without the replacement.</summary>
    public abstract Tensor Original { get; }

    /// <summary>The bias without the replacement, if the layer has one.</summary>
    public Tensor? OriginalBias => bias;

    /// <summary>The matrix W [out, in] without the replacement, in its own dtype.</summary>
    public abstract Tensor OriginalMatrix();

    /// <summary>Puts the replacement in place.</summary>
    public void Apply()
    {
        Put();
        CopyBias(newBias);
    }

    /// <summary>Puts the original back, bit for bit.</summary>
    public void Revert()
    {
        PutBack();
        CopyBias(bias);
    }

    /// <summary>Gives up the way back.</summary>
    public virtual void Dispose()
    {
        newBias?.Dispose();
        bias?.Dispose();
    }

    protected abstract void Put();

    protected abstract void PutBack();

    private void CopyBias(Tensor? values)
    {
        if (values is not null)
        {
            using var noGrad = no_grad();
            weight.Bias!.copy_(values);
        }
    }
}
