using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>One random mask of dropout, which can be applied again: in the backward pass.</summary>
internal abstract class DropoutMask : IDisposable
{
    /// <summary>The factors of the elements, 0 or 1/(1 − p), in the shape and dtype of <paramref name="like"/>.</summary>
    public abstract Tensor Factors(Tensor like);

    /// <summary>The mask and the factor applied, outside of autograd.</summary>
    public virtual Tensor Apply(Tensor x)
    {
        using Tensor factors = Factors(x);
        return x * factors;
    }

    /// <summary>Adds to a tensor what <see cref="Apply"/> makes of <paramref name="y"/>, in place, outside of autograd.</summary>
    public virtual void AddTo(Tensor target, Tensor y)
    {
        using Tensor factors = Factors(y);
        target.addcmul_(y, factors, 1);
    }

    /// <summary>The same mask, with a life of its own.</summary>
    public abstract DropoutMask Share();

    /// <summary>Frees what the mask holds, if anything.</summary>
    public abstract void Dispose();
}
