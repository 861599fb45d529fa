using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// OLoRA (arXiv 2406.01775): with W = Q R, B is the first r columns of Q and A the first r rows of R; the base becomes
/// W − s·B·A. The factors are not divided by s, as in PEFT's files. PEFT: <c>init_lora_weights="olora"</c>.
/// </summary>
internal static class OloraInitializer
{
    /// <summary>Decomposes W.</summary>
    /// <param name="weight">W [out, in].</param>
    /// <param name="rank">r, at most min(out, in).</param>
    /// <param name="scaling">s.</param>
    /// <param name="dtype">The factors' dtype.</param>
    public static InitialFactors Create(Tensor weight, int rank, double scaling, ScalarType dtype)
    {
        InitialFactors.CheckRank(weight, rank, "OLoRA");
        if (!Finite.All(weight))
        {
            throw new ArgumentException("A weight with NaN or infinite values cannot be decomposed.", nameof(weight));
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        (Tensor q, Tensor r) = linalg.qr(weight.detach().to(ScalarType.Float64));
        return InitialFactors.TakenFrom(weight, r.narrow(0, 0, rank), q.narrow(1, 0, rank), scaling, dtype).MoveToOuterDisposeScope();
    }
}
