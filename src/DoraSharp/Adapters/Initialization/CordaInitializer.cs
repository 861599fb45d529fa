using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// CorDA (arXiv 2406.05223): W = U S (Vᵀ C⁻¹) from the decomposition of W C, where C is the covariance of the layer's
/// inputs. The adapter gets the r triples that matter most, or least, to these inputs; the base keeps the rest.
/// PEFT: <c>init_lora_weights="corda"</c>.
/// </summary>
internal static class CordaInitializer
{
    /// <summary>The share of C's mean variance that is added to every direction, so that C can be inverted; PEFT's.</summary>
    private const double Damping = 0.01;

    /// <summary>Decomposes W in the light of its inputs.</summary>
    /// <param name="weight">W [out, in].</param>
    /// <param name="covariance">C [in, in] as <see cref="ContextCovariance"/> gathers it; not yet damped.</param>
    /// <param name="rank">r, at most min(out, in).</param>
    /// <param name="scaling">s, not 0.</param>
    /// <param name="method">Which triples the adapter gets.</param>
    /// <param name="dtype">The factors' dtype.</param>
    /// <exception cref="ArgumentException">C does not fit W, or is zero: the layer only ever saw zeros.</exception>
    public static InitialFactors Create(Tensor weight, Tensor covariance, int rank, double scaling, CordaMethod method, ScalarType dtype)
    {
        InitialFactors.CheckRank(weight, rank, "CorDA");
        if (covariance.dim() != 2 || covariance.shape[0] != weight.shape[1] || covariance.shape[1] != weight.shape[1])
        {
            throw new ArgumentException($"The inputs of a weight [{weight.shape[0]}, {weight.shape[1]}] have a covariance [{weight.shape[1]}, {weight.shape[1]}], not [{string.Join(", ", covariance.shape)}].", nameof(covariance));
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor c = covariance.to(ScalarType.Float64, copy: true);
        double variance = c.diagonal().mean().item<double>();
        if (!(variance > 0))
        {
            throw new ArgumentException("The covariance of the layer's inputs is zero: it saw nothing but zeros. Give data that reach it, or exclude it.", nameof(covariance));
        }

        c.diagonal().add_(Damping * variance);
        SingularTriples all = SingularTriples.Of(weight.detach().to(ScalarType.Float64).matmul(c));
        SingularTriples chosen = all.Slice(method == CordaMethod.InstructionPreviewed ? 0 : all.Count - rank, rank);

        // C is symmetric: Vᵀ C⁻¹ is the transpose of C⁻¹ V.
        SingularTriples ofWeight = chosen with { Vt = linalg.solve(c, chosen.Vt.t()).t() };
        return InitialFactors.TakenFrom(weight, ofWeight, scaling, dtype).MoveToOuterDisposeScope();
    }
}
