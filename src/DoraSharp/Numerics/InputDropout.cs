using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Dropout on the input of an adapter.</summary>
internal static class InputDropout
{
    /// <summary>A mask (1 = kept) for the next inputs of this thread, in place of a random one: so that a result can be compared.</summary>
    [ThreadStatic]
    private static Func<Tensor, Tensor>? givenMask;

    /// <summary>x with each element zeroed with probability p and the others divided by 1 − p.</summary>
    public static Tensor Apply(Tensor x, double p) =>
        givenMask is { } mask ? x * mask(x) / (1 - p) : nn.functional.dropout(x, p, training: true);

    /// <summary>Takes masks from a function of the input until the scope is disposed.</summary>
    public static IDisposable WithMask(Func<Tensor, Tensor> mask)
    {
        Func<Tensor, Tensor>? before = givenMask;
        givenMask = mask;
        return new Scope(() => givenMask = before);
    }
}
