using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A mask on the CPU that is made anew from its seed wherever it is needed, and so takes no memory.</summary>
/// <param name="seed">The seed.</param>
/// <param name="p">The probability that an element is dropped.</param>
internal sealed class CountedMask(ulong seed, double p) : DropoutMask
{
    /// <summary>The probability that an element is dropped.</summary>
    public double Probability => p;

    /// <summary>What is kept.</summary>
    public DropoutBits Bits { get; } = new(seed, p);

    public override Tensor Factors(Tensor like)
    {
        using var noGrad = no_grad();
        using Tensor mask = empty(like.shape, dtype: ScalarType.Byte);
        DropoutKernel.Fill(mask.bytes, Bits);
        return mask.to(like.dtype).mul_(1 / (1 - p));
    }

    public override Tensor Apply(Tensor x)
    {
        if (!FloatMemory.Serves(x))
        {
            return base.Apply(x);
        }

        Tensor kept = empty_like(x);
        DropoutKernel.Copy(x, kept, Bits, p);
        return kept;
    }

    public override void AddTo(Tensor target, Tensor y)
    {
        if (FloatMemory.Serves(target) && FloatMemory.Serves(y))
        {
            DropoutKernel.Add(y, target, Bits, p);
        }
        else
        {
            base.AddTo(target, y);
        }
    }

    public override DropoutMask Share() => this;

    public override void Dispose()
    {
    }
}
