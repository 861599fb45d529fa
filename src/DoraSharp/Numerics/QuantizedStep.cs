using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A quantized linear layer as one node of the graph: y = x Wᵀ + b. Of the forward pass it keeps the codes, which are the
/// layer's own, and the input's shape: W is decoded again for dX = dY W.
/// </summary>
internal sealed class QuantizedStep : BackwardPass
{
    private readonly QuantizedTensor weight;
    private readonly ScalarType computeType;
    private readonly long[] inputShape;
    private readonly ScalarType inputType;
    private readonly bool wantsInput;
    private readonly bool wantsBias;
    private SavedTensor? codes;

    private QuantizedStep(Tensor x, QuantizedTensor weight, Tensor? bias, ScalarType computeType)
    {
        this.weight = weight;
        this.computeType = computeType;
        (inputShape, inputType) = (x.shape, x.dtype);
        wantsInput = x.requires_grad;
        wantsBias = bias is { requires_grad: true };
    }

    /// <summary>The output, [..., out] in x's dtype.</summary>
    /// <param name="x">The input, [..., in].</param>
    /// <param name="weight">W [out, in].</param>
    /// <param name="bias">b [out], if there is one.</param>
    /// <param name="computeType">The dtype in which W is decoded and multiplied.</param>
    public static Tensor Apply(Tensor x, QuantizedTensor weight, Tensor? bias, ScalarType computeType)
    {
        QuantizedStep step = new(x, weight, bias, computeType);
        Tensor y = Forward(x, weight, bias, computeType);
        if (!is_grad_enabled() || !(step.wantsInput || step.wantsBias))
        {
            return y;
        }

        using (y)
        {
            return GradientNode.Attach(y, bias is null ? [x] : [x, bias], step, (node, _) => step.codes = node.Save(weight.Codes));
        }
    }

    public override void Run(ReadOnlySpan<Tensor?> outputGradients, Span<Tensor?> gradients)
    {
        if (outputGradients[0] is not { } outputGradient)
        {
            return;
        }

        // Throws where the codes have been overwritten since.
        using Tensor unchanged = codes!.Unpack();
        Tensor dY = outputGradient.reshape(-1, outputGradient.shape[^1]);
        if (wantsInput)
        {
            Tensor typed = dY.to(computeType);
            Tensor dX = is_grad_enabled() ? typed.mm(weight.Dequantize(QuantizedProduct.BackwardType(weight, computeType)).to(computeType)) : QuantizedProduct.Backward(typed, weight);
            gradients[0] = dX.to(inputType).reshape(inputShape);
        }

        if (wantsBias)
        {
            gradients[1] = dY.sum(dim: 0);
        }
    }

    public override void Free()
    {
        codes?.Free();
        codes = null;
    }

    private static Tensor Forward(Tensor x, QuantizedTensor weight, Tensor? bias, ScalarType computeType)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor rows = x.reshape(-1, weight.Shape[1]).to(computeType).contiguous();
        Tensor y = QuantizedProduct.Forward(rows, weight, bias?.to(computeType)).to(x.dtype);

        // Not as a view of another tensor: libtorch would refuse to change it in place.
        return (x.dim() == 2 ? y : y.reshape([.. x.shape[..^1], weight.Shape[0]]).detach()).MoveToOuterDisposeScope();
    }
}
