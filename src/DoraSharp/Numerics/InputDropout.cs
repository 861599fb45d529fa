using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Dropout on the input of an adapter.</summary>
/// <remarks>
/// On the CPU libtorch draws its masks number by number, which takes as long as a tenth of a large layer's products. Here one number is drawn
/// from libtorch's generator, so that <c>manual_seed</c> and a restored generator give the same mask again, and the mask follows from it.
/// </remarks>
internal static class InputDropout
{
    /// <summary>A mask (1 = kept) for the next inputs of this thread, in place of a random one: so that a result can be compared.</summary>
    [ThreadStatic]
    private static Func<Tensor, Tensor>? givenMask;

    /// <summary>x with each element zeroed with probability p and the others divided by 1 − p.</summary>
    public static Tensor Apply(Tensor x, double p)
    {
        using DropoutMask mask = Next(x, p);
        using Tensor factors = mask.Factors(x);
        return x * factors;
    }

    /// <summary>The next mask for an input.</summary>
    public static DropoutMask Next(Tensor x, double p)
    {
        using var noGrad = no_grad();
        if (givenMask is { } mask)
        {
            return new GivenMask(mask(x).to(x.dtype).div(1 - p).DetachFromDisposeScope());
        }

        if (x.device_type != DeviceType.CPU)
        {
            return new KeptMask(empty_like(x, dtype: ScalarType.Bool).bernoulli_(1 - p).DetachFromDisposeScope(), p);
        }

        using Tensor seed = randint(long.MaxValue, [1], dtype: ScalarType.Int64);
        return new CountedMask((ulong)seed.item<long>(), p);
    }

    /// <summary>Takes masks from a function of the input until the scope is disposed.</summary>
    public static IDisposable WithMask(Func<Tensor, Tensor> mask)
    {
        Func<Tensor, Tensor>? before = givenMask;
        givenMask = mask;
        return new Scope(() => givenMask = before);
    }
}
