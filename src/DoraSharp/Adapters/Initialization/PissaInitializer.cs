using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// PiSSA (arXiv 2404.02948): the adapter starts as the best rank-r approximation of W, s·B·A = U_r S_r V_rᵀ, and the base
/// keeps the rest. PEFT: <c>init_lora_weights="pissa"</c> and <c>"pissa_niter_n"</c>.
/// </summary>
internal static class PissaInitializer
{
    /// <summary>From the whole singular value decomposition.</summary>
    /// <param name="weight">W [out, in].</param>
    /// <param name="rank">r, at most min(out, in).</param>
    /// <param name="scaling">s, not 0.</param>
    /// <param name="dtype">The factors' dtype.</param>
    public static InitialFactors Exact(Tensor weight, int rank, double scaling, ScalarType dtype)
    {
        InitialFactors.CheckRank(weight, rank, "PiSSA");
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        return InitialFactors.TakenFrom(weight, SingularTriples.Of(weight).Slice(0, rank), scaling, dtype).MoveToOuterDisposeScope();
    }

    /// <summary>From a randomised decomposition with oversampling: an error of at most 1.05 times the best one's.</summary>
    /// <param name="weight">W [out, in].</param>
    /// <param name="rank">r, at most min(out, in).</param>
    /// <param name="scaling">s, not 0.</param>
    /// <param name="iterations">The number of subspace iterations.</param>
    /// <param name="dtype">The factors' dtype.</param>
    /// <param name="generator">The source of random numbers; TorchSharp's default one if there is none.</param>
    public static InitialFactors Fast(Tensor weight, int rank, double scaling, int iterations, ScalarType dtype, Generator? generator = null)
    {
        InitialFactors.CheckRank(weight, rank, "PiSSA");
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        return InitialFactors.TakenFrom(weight, SingularTriples.Randomized(weight, rank, iterations, generator), scaling, dtype).MoveToOuterDisposeScope();
    }
}
