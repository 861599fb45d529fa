using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Products with a quantized matrix W [out, in], of which no more than some rows are dense at any time: decoded into scratch memory that is
/// shared. Decoding takes a few per cent of the product of a few hundred tokens; with few tokens the codes themselves are multiplied.
/// </summary>
internal static class QuantizedProduct
{
    /// <summary>The scratch that decoded rows may take, in elements.</summary>
    private const long BlockElements = 1 << 22;

    /// <summary>x Wᵀ + b: [tokens, in] to [tokens, out], all in one dtype.</summary>
    public static Tensor Forward(Tensor x, QuantizedTensor weight, Tensor? bias)
    {
        if (weight is FourBitTensor packed && FourBitProduct.Serves(x))
        {
            return OfFewTokens(x, packed, bias);
        }

        Tensor y = empty([x.shape[0], weight.Shape[0]], x.dtype, x.device);
        ByRowBlocks(weight, x.dtype, (block, first) =>
        {
            Tensor part = y.narrow(1, first, block.shape[0]);
            if (bias is null)
            {
                part.addmm_(x, block.t(), beta: 0, alpha: 1);
            }
            else
            {
                part.copy_(bias.narrow(0, first, block.shape[0])).addmm_(x, block.t());
            }
        });
        return y;
    }

    /// <summary>
    /// dY W: [tokens, out] to [tokens, in]. As in bitsandbytes W is rounded here to the dtype that it had before it was quantized, where
    /// that is the coarser one.
    /// </summary>
    public static Tensor Backward(Tensor outputGradient, QuantizedTensor weight)
    {
        ScalarType type = outputGradient.dtype;
        Tensor dX = empty([outputGradient.shape[0], weight.Shape[1]], type, outputGradient.device);
        ByRowBlocks(weight, BackwardType(weight, type), (block, first) =>
            dX.addmm_(outputGradient.narrow(1, first, block.shape[0]), block.to(type), beta: first == 0 ? 0 : 1, alpha: 1));
        return dX;
    }

    /// <summary>The dtype that W is rounded to in a backward pass that computes in <paramref name="computeType"/>.</summary>
    public static ScalarType BackwardType(QuantizedTensor weight, ScalarType computeType) =>
        weight.DType is ScalarType.BFloat16 or ScalarType.Float16 && computeType is ScalarType.Float32 or ScalarType.Float64 ? weight.DType : computeType;

    /// <summary>W Aᵀ [out, r] for A [r, in], in A's dtype.</summary>
    public static Tensor Project(QuantizedTensor weight, Tensor a)
    {
        if (PackedOnCpu(weight, a) is { } packed)
        {
            return FourBitProduct.Project(packed.Memory(), a);
        }

        Tensor result = empty([weight.Shape[0], a.shape[0]], a.dtype, a.device);
        ByRowBlocks(weight, a.dtype, (block, first) => result.narrow(0, first, block.shape[0]).addmm_(block, a.t(), beta: 0, alpha: 1));
        return result;
    }

    /// <summary>W is not rounded to the dtype of x here: the product is rounded once, at its end.</summary>
    private static Tensor OfFewTokens(Tensor x, FourBitTensor weight, Tensor? bias)
    {
        using var scope = NewDisposeScope();
        Tensor y = FourBitProduct.Multiply(weight.Memory(), x.to(ScalarType.Float32).contiguous());
        if (bias is not null)
        {
            y.add_(bias);
        }

        return y.to(x.dtype).MoveToOuterDisposeScope();
    }

    private static FourBitTensor? PackedOnCpu(QuantizedTensor weight, Tensor x) =>
        weight is FourBitTensor packed && FloatMemory.Serves(x) && packed.Codes.device_type == TorchSharp.DeviceType.CPU && x.numel() > 0 ? packed : null;

    private static void ByRowBlocks(QuantizedTensor weight, ScalarType dtype, Action<Tensor, long> work)
    {
        (long outputs, long inputs) = (weight.Shape[0], weight.Shape[1]);
        long step = Math.Clamp(BlockElements / inputs, 1, outputs);
        using DecodeScratch scratch = DecodeScratch.Rent(step * inputs, dtype, weight.Device);
        for (long first = 0; first < outputs; first += step)
        {
            using var scope = NewDisposeScope();
            Tensor block = scratch.Matrix(Math.Min(step, outputs - first), inputs);
            weight.DequantizeRows(first, block.shape[0], block);
            work(block, first);
        }
    }
}
