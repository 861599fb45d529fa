using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// The best approximation B·A of a change of a weight by factors of low rank, with its errors: a LoRA adapter out of a
/// fully fine-tuned weight, out of a larger adapter, or out of DoRA's change. PEFT: <c>convert_to_lora</c>.
/// </summary>
/// <remarks>
/// The best in the Frobenius and in the spectral norm (Eckart, Young, Mirsky). The scaling is in B: the adapter has α = r.
/// The errors are those of cutting the decomposition off, in float64; rounding the factors adds about 1e-7 of them.
/// </remarks>
public sealed class LowRankApproximation : IDisposable
{
    private LowRankApproximation(Tensor a, Tensor b, double[] singularValues)
    {
        A = a;
        B = b;
        SingularValues = singularValues;
        FrobeniusError = Norm(singularValues.AsSpan(Rank));
        double whole = Norm(singularValues);
        RelativeError = whole == 0 ? 0 : FrobeniusError / whole;
        SpectralError = Rank < singularValues.Length ? singularValues[Rank] : 0;
    }

    /// <summary>A [rank, in]: the right singular vectors.</summary>
    public Tensor A { get; }

    /// <summary>B [out, rank]: the left singular vectors times the singular values.</summary>
    public Tensor B { get; }

    /// <summary>The rank.</summary>
    public int Rank => (int)A.shape[0];

    /// <summary>All singular values of the change, descending.</summary>
    public IReadOnlyList<double> SingularValues { get; }

    /// <summary>‖change − B·A‖ in the Frobenius norm.</summary>
    public double FrobeniusError { get; }

    /// <summary><see cref="FrobeniusError"/> in units of ‖change‖; 0 where there is no change.</summary>
    public double RelativeError { get; }

    /// <summary>‖change − B·A‖ in the spectral norm: the first singular value that was left out.</summary>
    public double SpectralError { get; }

    /// <summary>Approximates a change with a given rank.</summary>
    /// <param name="change">The change, [out, in], of any floating-point dtype.</param>
    /// <param name="rank">The rank, 1 to min(out, in).</param>
    /// <returns>Factors in float64 if the change is, else in float32. The caller disposes them.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The rank is not between 1 and min(out, in).</exception>
    /// <exception cref="ArgumentException">The change is no finite matrix.</exception>
    public static LowRankApproximation OfRank(Tensor change, int rank)
    {
        CheckMatrix(change);
        ArgumentOutOfRangeException.ThrowIfLessThan(rank, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rank, Math.Min(change.shape[0], change.shape[1]));
        return Of(change, RankChoice.Fixed(rank));
    }

    /// <summary>Approximates a change with the smallest rank that keeps a fraction of its energy ‖change‖².</summary>
    /// <param name="change">The change, [out, in], of any floating-point dtype.</param>
    /// <param name="fraction">The fraction of the sum of squared singular values, above 0, at most 1.</param>
    /// <returns>Factors in float64 if the change is, else in float32. The caller disposes them.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The fraction is not above 0 and at most 1.</exception>
    /// <exception cref="ArgumentException">The change is no finite matrix.</exception>
    public static LowRankApproximation OfEnergy(Tensor change, double fraction)
    {
        CheckMatrix(change);
        return Of(change, RankChoice.ForEnergy(fraction));
    }

    /// <summary>Frees the factors.</summary>
    public void Dispose()
    {
        A.Dispose();
        B.Dispose();
    }

    /// <summary>Approximates a change with the rank that a choice gives for it.</summary>
    /// <param name="change">The change, [out, in], finite.</param>
    /// <param name="choice">How the rank is chosen.</param>
    /// <param name="norm">The norm of the weight that changes, for <see cref="RankChoice.Error"/>.</param>
    internal static LowRankApproximation Of(Tensor change, RankChoice choice, double norm = 1)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        SingularTriples all = SingularTriples.Of(change);
        double[] singularValues = [.. all.S.cpu().data<double>()];
        SingularTriples kept = all.Slice(0, choice.Of(singularValues, norm));
        ScalarType dtype = change.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;

        // A is copied: a slice would keep the whole decomposition in memory.
        return new(kept.Vt.to(dtype, copy: true).contiguous().MoveToOuterDisposeScope(), (kept.U * kept.S).to(dtype).contiguous().MoveToOuterDisposeScope(), singularValues);
    }

    private static double Norm(ReadOnlySpan<double> values)
    {
        double sum = 0;
        foreach (double value in values)
        {
            sum += value * value;
        }

        return Math.Sqrt(sum);
    }

    private static void CheckMatrix(Tensor change)
    {
        ArgumentNullException.ThrowIfNull(change);
        if (change.dim() != 2 || change.numel() == 0 || !change.is_floating_point())
        {
            throw new ArgumentException($"A change of a weight is a floating-point matrix [out, in], not a {change.dtype} tensor [{string.Join(", ", change.shape)}].", nameof(change));
        }
    }
}
