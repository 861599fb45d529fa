using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Lets a parameter or buffer of a module and another tensor of its shape, dtype and device change places.</summary>
internal static class ParameterExchange
{
    /// <summary>Exchanges the two: elements, gradient, and whether they train. The objects stay where they are.</summary>
    /// <param name="owner">The module.</param>
    /// <param name="own">Its parameter or buffer.</param>
    /// <param name="other">The other tensor.</param>
    public static void Run(nn.Module owner, Tensor own, Tensor other)
    {
        if (HoldsNatively(owner))
        {
            ExchangeElements(own, other);
            return;
        }

        TensorIdentity.Exchange(own, other);
        switch (owner)
        {
            // libtorch's own look-up holds its weight itself.
            case Embedding embedding:
                embedding.weight = (Parameter)own;
                break;
            case EmbeddingBag bag:
                bag.weight = (Parameter)own;
                break;
        }
    }

    // Modules that run inside libtorch and cannot be given another parameter.
    private static bool HoldsNatively(nn.Module module) => module
        is MultiheadAttention or LSTM or GRU or TorchSharp.Modules.RNN or LSTMCell or GRUCell or RNNCell
        or TransformerEncoderLayer or TransformerDecoderLayer or TransformerEncoder or TransformerDecoder or TorchSharp.Modules.Transformer;

    // Autograd notices this: a backward pass through what ran before it throws.
    private static void ExchangeElements(Tensor own, Tensor other)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor before = own.detach();
        own.set_(other.detach());
        other.set_(before);
        (own.requires_grad, other.requires_grad) = (other.requires_grad, own.requires_grad);
        (own.grad, other.grad) = (other.grad, own.grad);
    }
}
