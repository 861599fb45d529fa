using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Combines the adapters of one weight. Pure: nothing that it is given changes.</summary>
/// <remarks>
/// <para>
/// Adapter k turns W into g_k ⊙ (W + s_k·B_k·A_k), with g_k = m_k/‖W + s_k·B_k·A_k‖ for DoRA and 1 for LoRA. Its whole
/// change is (g_k − 1) ⊙ W + s_k·(g_k ⊙ B_k)·A_k: a gain of W's rows and a low-rank update. Both are combined, the update by the
/// type, the gains by the type's merge without pruning: c = 1 + merge(g_k − 1), U = B'·A' = merge(s_k·(g_k ⊙ B_k)·A_k).
/// </para>
/// <para>
/// The result, c ⊙ W + U, is a DoRA adapter: direction W + (B'/c)·A' and magnitude c·‖W + (B'/c)·A'‖. So magnitudes cost no rank,
/// and <see cref="CombinationType.Cat"/> is exact for DoRA too. PEFT combines A and B alone and starts the magnitude anew.
/// </para>
/// <para>The result's scaling is 1, whatever that of the sources; the new adapter takes α = r, not rank-stabilised.</para>
/// </remarks>
internal static class WeightCombination
{
    /// <summary>
    /// A row whose gain vanishes keeps nothing of W, which a DoRA row cannot say. It keeps this share, which is within
    /// the rounding of float32 parameters.
    /// </summary>
    private const double SmallestGain = 1e-6;

    /// <summary>Combines the adapters of one weight.</summary>
    /// <param name="combination">How.</param>
    /// <param name="sources">The adapters of this weight, in the combination's order; one or more.</param>
    /// <param name="weight">The frozen weight W [out, in].</param>
    /// <param name="withMagnitude">Give the result a magnitude; needed where a source has one.</param>
    /// <param name="rank">The rank of the result: at least <see cref="AdapterCombination.RankOf"/>; the rest is zero.</param>
    /// <param name="keepMask">DARE's masks: of A per source, then of B per source; or of the update per source.</param>
    /// <returns>The new adapter, computed in float64 and rounded once to the first source's dtype. The caller disposes it.</returns>
    /// <exception cref="ArgumentException">Ranks or shapes do not fit, or values of the combination do not go together.</exception>
    /// <exception cref="InvalidOperationException">A source or the result is not finite.</exception>
    /// <exception cref="NotSupportedException">A magnitude meets a bias of B.</exception>
    public static CombinedUpdate Combine(
        AdapterCombination combination, IReadOnlyList<CombinationSource> sources, FrozenWeight weight, bool withMagnitude, int rank, Func<long[], Tensor> keepMask)
    {
        Check(combination, sources, weight, withMagnitude, rank);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        TaskMerge merge = new(combination, keepMask);
        double[] weights = [.. sources.Select(source => source.Weight)];
        Tensor[] gains = [.. sources.Select(source => Gain(source, weight))];
        Tensor[] a = [.. sources.Select(source => source.A.to(ScalarType.Float64))];
        Tensor[] b = [.. sources.Zip(gains, (source, gain) => source.B.to(ScalarType.Float64) * gain.unsqueeze(1))];

        (Tensor newA, Tensor newB) = Update(combination, merge, sources, a, b);
        newA = nn.functional.pad(newA, [0, 0, 0, rank - newA.shape[0]]);
        newB = nn.functional.pad(newB, [0, rank - newB.shape[1]]);
        Tensor? magnitude = null;
        if (withMagnitude)
        {
            Tensor gain = merge.Merge(i => gains[i] - 1, weights) + 1;
            (newB, magnitude) = AsDirection(newA, newB, gain, weight);
        }

        return Result(sources[0].A.dtype, newA, newB, magnitude, Bias(sources));
    }

    private static void Check(AdapterCombination combination, IReadOnlyList<CombinationSource> sources, FrozenWeight weight, bool withMagnitude, int rank)
    {
        combination.Check();
        if (sources.Count == 0)
        {
            throw new ArgumentException("There is no adapter to combine at this weight.", nameof(sources));
        }

        foreach (CombinationSource source in sources)
        {
            source.Check(weight);
        }

        int needed = combination.RankOf([.. sources.Select(source => source.Rank)]);
        if (rank < needed)
        {
            throw new ArgumentOutOfRangeException(nameof(rank), rank, $"The combined adapter has rank {needed} at this weight.");
        }

        if (!withMagnitude && sources.FirstOrDefault(source => source.Magnitude is not null) is { } dora)
        {
            throw new ArgumentException($"Adapter '{dora.Adapter}' has a magnitude, which the result must keep.", nameof(withMagnitude));
        }

        if (withMagnitude && sources.FirstOrDefault(source => source.Bias is not null) is { } biased)
        {
            throw new NotSupportedException($"B of adapter '{biased.Adapter}' has a bias of its own, which no DoRA adapter can have: it cannot be combined with DoRA adapters.");
        }
    }

    /// <summary>g = m/‖W + s·B·A‖ [out]; 0 where the norm is 0, and 1 without magnitude.</summary>
    private static Tensor Gain(CombinationSource source, FrozenWeight weight)
    {
        if (source.Magnitude is null)
        {
            return ones(source.B.shape[0], dtype: ScalarType.Float64, device: source.B.device);
        }

        using var scope = NewDisposeScope();
        Tensor norm = RowNorms.OfUpdated(weight, source.A.to(ScalarType.Float64), source.B.to(ScalarType.Float64), source.Scaling);
        Tensor zero = norm.eq(0);
        return (source.Magnitude.to(ScalarType.Float64) / norm.masked_fill(zero, 1)).masked_fill(zero, 0).MoveToOuterDisposeScope();
    }

    /// <summary>The low-rank part of the result as factors, for gain-weighted B.</summary>
    private static (Tensor A, Tensor B) Update(AdapterCombination combination, TaskMerge merge, IReadOnlyList<CombinationSource> sources, Tensor[] a, Tensor[] b)
    {
        double[] factors = [.. sources.Select(source => source.Weight * source.Scaling)];
        if (combination.EffectiveType == CombinationType.Cat)
        {
            return Stack(a, b, factors);
        }

        if (!combination.EffectiveType.UsesSvd())
        {
            Tensor newA = merge.PruneAndMerge(i => a[i], Array.ConvertAll(factors, f => Math.Sign(f) * Math.Sqrt(Math.Abs(f))));
            return (newA, merge.PruneAndMerge(i => b[i], Array.ConvertAll(factors, f => Math.Sqrt(Math.Abs(f)))));
        }

        int rank = combination.RankOf([.. sources.Select(source => source.Rank)]);
        (Tensor A, Tensor B) cut;
        if (combination.EffectiveType == CombinationType.Svd)
        {
            (Tensor stackedA, Tensor stackedB) = Stack(a, b, factors);
            cut = TruncatedSvd.OfProduct(stackedA, stackedB, rank);
        }
        else
        {
            Tensor update = merge.PruneAndMerge(i => b[i].matmul(a[i]).mul_(sources[i].Scaling), [.. sources.Select(source => source.Weight)]);
            cut = TruncatedSvd.OfMatrix(update, rank);
        }

        return combination.SvdClamp is { } quantile ? TruncatedSvd.Clamp(cut.A, cut.B, quantile) : cut;
    }

    /// <summary>Factors whose product is the weighted sum of the updates. As in PEFT, A takes the weights.</summary>
    private static (Tensor A, Tensor B) Stack(Tensor[] a, Tensor[] b, double[] factors) =>
        (cat([.. a.Zip(factors, (tensor, factor) => tensor * factor)], dim: 0), cat(b, dim: 1));

    /// <summary>c ⊙ W + B·A as DoRA: B/c and the magnitude c·‖W + (B/c)·A‖.</summary>
    private static (Tensor B, Tensor Magnitude) AsDirection(Tensor a, Tensor b, Tensor gain, FrozenWeight weight)
    {
        Tensor smallest = gain.lt(0).to(gain.dtype).mul_(-2 * SmallestGain).add_(SmallestGain);
        Tensor divisor = where(gain.abs().ge(SmallestGain), gain, smallest);

        // Without an update the row is c·W, for any c.
        Tensor updated = b.ne(0).any(dim: 1);
        Tensor direction = b / divisor.unsqueeze(1);
        return (direction, where(updated, divisor, gain) * RowNorms.OfUpdated(weight, a, direction, 1));
    }

    private static Tensor? Bias(IReadOnlyList<CombinationSource> sources)
    {
        Tensor? sum = null;
        foreach (CombinationSource source in sources.Where(source => source.Bias is not null))
        {
            Tensor term = source.Bias!.to(ScalarType.Float64) * (source.Weight * source.Scaling);
            sum = sum is null ? term : sum + term;
        }

        return sum;
    }

    private static CombinedUpdate Result(ScalarType dtype, Tensor a, Tensor b, Tensor? magnitude, Tensor? bias)
    {
        Tensor?[] rounded = Array.ConvertAll([a, b, magnitude, bias], tensor => tensor?.to(dtype, copy: true));
        return rounded.All(tensor => tensor is null || Finite.All(tensor))
            ? new(Kept(0)!, Kept(1)!, Kept(2), Kept(3))
            : throw new InvalidOperationException($"The combined adapter is not finite in {dtype}: the adapters' values or weights are too large.");

        Tensor? Kept(int i) => rounded[i]?.MoveToOuterDisposeScope();
    }
}
