using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// LoftQ (arXiv 2310.08659): the base becomes an NF4 weight Q, and the adapter starts as the best rank-r approximation of
/// what quantization lost; the two are improved in turns. PEFT: <c>init_lora_weights="loftq"</c>.
/// </summary>
/// <remarks>PEFT does not divide the factors by s, so that its layer applies s times the correction. These are divided.</remarks>
internal static class LoftqInitializer
{
    private static readonly QuantizationOptions Quantization = new() { DoubleQuantization = false };

    /// <summary>Q ← NF4(W − s·B·A), then s·B·A ← the best rank-r approximation of W − Q; repeated.</summary>
    /// <param name="weight">W [out, in].</param>
    /// <param name="rank">r, at most min(out, in).</param>
    /// <param name="scaling">s, not 0.</param>
    /// <param name="iterations">How often the two are improved, 1 or more.</param>
    /// <param name="dtype">The factors' dtype.</param>
    public static InitialFactors Create(Tensor weight, int rank, double scaling, int iterations, ScalarType dtype)
    {
        InitialFactors factors = Create(weight, rank, scaling, iterations, dtype, Quantization);
        using (factors.Quantized)
        {
            return factors with { Quantized = null };
        }
    }

    /// <summary>The same over a base that is quantized with the given options and decoded to <paramref name="weight"/>'s dtype.</summary>
    /// <inheritdoc cref="Create(Tensor, int, double, int, ScalarType)"/>
    public static InitialFactors Create(Tensor weight, int rank, double scaling, int iterations, ScalarType dtype, QuantizationOptions options)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(iterations, 1);
        InitialFactors.CheckRank(weight, rank, "LoftQ");
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor w = weight.detach().to(ScalarType.Float64);
        Tensor rest = w;
        for (int i = 1; ; i++)
        {
            // Rounded to W's dtype before the adapter makes up for it: that is what the base will hold.
            QuantizedTensor packed = QuantizedTensor.Quantize(rest, options);
            Tensor quantized = packed.Dequantize(ScalarType.Float32).to(weight.dtype);
            SingularTriples lost = SingularTriples.Of(w - quantized.to(ScalarType.Float64)).Slice(0, rank);
            if (i == iterations)
            {
                (Tensor a, Tensor b) = InitialFactors.Balanced(lost, scaling);
                return (InitialFactors.Of(a, b, dtype) with { Residual = quantized, Quantized = packed }).MoveToOuterDisposeScope();
            }

            packed.Dispose();
            rest = w - (lost.U * lost.S).matmul(lost.Vt);
        }
    }
}
