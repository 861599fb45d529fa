using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The whole change W′ − W that an adapter makes, dense and in float64.</summary>
internal static class WeightChange
{
    /// <summary>s·B·A of LoRA; g ⊙ (W + s·B·A) − W of DoRA, which has a higher rank than the adapter.</summary>
    /// <param name="weight">W [out, in].</param>
    /// <param name="a">A [r, in].</param>
    /// <param name="b">B [out, r].</param>
    /// <param name="scaling">s.</param>
    /// <param name="magnitude">m [out] for DoRA.</param>
    /// <returns>[out, in] in float64.</returns>
    public static Tensor Of(Tensor weight, Tensor a, Tensor b, double scaling, Tensor? magnitude = null)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor update = b.to(ScalarType.Float64).matmul(a.to(ScalarType.Float64)).mul_(scaling);
        if (magnitude is null)
        {
            return update.MoveToOuterDisposeScope();
        }

        Tensor w = weight.to(ScalarType.Float64);
        Tensor v = w + update;
        Tensor norms = linalg.vector_norm(v, ord: 2, dims: [1], keepdim: true);

        // A row of zeros stays zero whatever its magnitude, as in the layer.
        Tensor gain = magnitude.to(ScalarType.Float64).unsqueeze(1) / norms.masked_fill(norms.eq(0), 1);
        return (gain * v - w).MoveToOuterDisposeScope();
    }
}
