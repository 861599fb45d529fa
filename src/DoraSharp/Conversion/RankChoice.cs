namespace DoraSharp;

/// <summary>How the rank of an approximation is chosen, for each weight by itself.</summary>
/// <remarks>With the singular values σ₁ ≥ σ₂ ≥ … of a change, keeping r of them leaves the error √(σ²_{r+1} + …) (Eckart, Young, Mirsky).</remarks>
public sealed record RankChoice
{
    private RankChoice(int? rank, double? energy, double? error)
    {
        Rank = rank;
        Energy = energy;
        Error = error;
    }

    /// <summary>The rank, where it is given. PEFT: <c>rank</c> of <c>convert_to_lora</c>, an integer.</summary>
    public int? Rank { get; }

    /// <summary>The fraction of the change's energy Σσ² that is kept, where that decides. PEFT: <c>rank</c> of <c>convert_to_lora</c>, a fraction.</summary>
    public double? Energy { get; }

    /// <summary>The largest error in the Frobenius norm, in units of the weight's norm, where that decides.</summary>
    public double? Error { get; }

    /// <summary>The same rank everywhere; where a weight's smaller side is less, that.</summary>
    /// <param name="rank">1 or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is less.</exception>
    public static RankChoice Fixed(int rank)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(rank, 1);
        return new(rank, null, null);
    }

    /// <summary>The smallest rank that keeps a fraction of the change's energy Σσ².</summary>
    /// <param name="fraction">Above 0, at most 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is not.</exception>
    public static RankChoice ForEnergy(double fraction) => fraction is > 0 and <= 1
        ? new(null, fraction, null)
        : throw new ArgumentOutOfRangeException(nameof(fraction), fraction, "The fraction of energy must be above 0 and at most 1.");

    /// <summary>The smallest rank whose error is at most a share of the weight's norm: ‖change − B·A‖ ≤ tolerance·‖W‖.</summary>
    /// <param name="tolerance">A finite number, 0 or more. At 1e-6 a float32 layer's output moves no more than its rounding.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is not.</exception>
    public static RankChoice ForError(double tolerance) => double.IsFinite(tolerance) && tolerance >= 0
        ? new(null, null, tolerance)
        : throw new ArgumentOutOfRangeException(nameof(tolerance), tolerance, "The tolerance must be a finite number, 0 or more.");

    /// <summary>The rank for a change's singular values, at least 1.</summary>
    /// <param name="singularValues">Descending, one or more.</param>
    /// <param name="norm">The weight's norm ‖W‖.</param>
    internal int Of(ReadOnlySpan<double> singularValues, double norm)
    {
        if (Rank is { } rank)
        {
            return Math.Min(rank, singularValues.Length);
        }

        if (Error is { } tolerance)
        {
            double allowed = tolerance * norm * (tolerance * norm);
            double left = 0;
            int needed = singularValues.Length;
            while (needed > 1 && left + (singularValues[needed - 1] * singularValues[needed - 1]) <= allowed)
            {
                needed--;
                left += singularValues[needed] * singularValues[needed];
            }

            return needed;
        }

        double total = 0;
        foreach (double value in singularValues)
        {
            total += value * value;
        }

        double kept = 0;
        int count = 0;
        do
        {
            kept += singularValues[count] * singularValues[count];
            count++;
        }
        while (kept < Energy!.Value * total && count < singularValues.Length);
        return count;
    }
}
