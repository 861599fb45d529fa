namespace DoraSharp;

/// <summary>Which adapters of a model become one new adapter, with which weights, and how. PEFT: the arguments of <c>add_weighted_adapter</c>.</summary>
/// <remarks>
/// Immutable. Every value is checked where it is set; what depends on several values is checked when the combination is used.
/// A setting that the type would not use is refused.
/// </remarks>
public sealed record AdapterCombination
{
    /// <summary>The names of the adapters to combine. PEFT: <c>adapters</c>.</summary>
    /// <value>One name or more.</value>
    public required IReadOnlyList<string> Adapters
    {
        get;
        init
        {
            ArgumentNullException.ThrowIfNull(value, nameof(Adapters));
            if (value.Count == 0 || value.Any(string.IsNullOrWhiteSpace))
            {
                throw new ArgumentException("Adapters needs one name or more, none of them empty.", nameof(Adapters));
            }

            field = [.. value];
        }
    }

    /// <summary>The weight of each adapter, in the order of <see cref="Adapters"/>; negative ones subtract. PEFT: <c>weights</c>.</summary>
    /// <value>Finite numbers.</value>
    public required IReadOnlyList<double> Weights
    {
        get;
        init
        {
            ArgumentNullException.ThrowIfNull(value, nameof(Weights));
            foreach (double weight in value)
            {
                if (!double.IsFinite(weight))
                {
                    throw new ArgumentOutOfRangeException(nameof(Weights), weight, "Weights must be finite.");
                }
            }

            field = [.. value];
        }
    }

    /// <summary>How the adapters become one. PEFT: <c>combination_type</c>.</summary>
    /// <value><see cref="CombinationType.Svd"/> by default.</value>
    public CombinationType Type
    {
        get;
        init => field = Enum.IsDefined(value) ? value : throw new ArgumentOutOfRangeException(nameof(Type), value, "Unknown combination type.");
    } = CombinationType.Svd;

    /// <summary>The rank of the new adapter, for the types that end in <c>Svd</c>. PEFT: <c>svd_rank</c>.</summary>
    /// <value>1 or more; <see langword="null"/>, the default, takes the largest rank of the adapters.</value>
    public int? SvdRank
    {
        get;
        init => field = value is null or >= 1 ? value : throw new ArgumentOutOfRangeException(nameof(SvdRank), value, "SvdRank must be 1 or more.");
    }

    /// <summary>
    /// Limits the elements of the decomposition's factors to this quantile, for the types that end in <c>Svd</c>. PEFT:
    /// <c>svd_clamp</c>. The quantile is that of the elements with both signs, so that it does not depend on the arbitrary
    /// signs of singular vectors.
    /// </summary>
    /// <value>Above 0.5, at most 1; <see langword="null"/>, the default, limits nothing.</value>
    public double? SvdClamp
    {
        get;
        init => field = value is null or (> 0.5 and <= 1) ? value : throw new ArgumentOutOfRangeException(nameof(SvdClamp), value, "SvdClamp must be above 0.5 and at most 1.");
    }

    /// <summary>The share of elements that TIES, DARE and magnitude pruning keep. PEFT: <c>density</c>.</summary>
    /// <value>Above 0, at most 1; needed by those types and by no other.</value>
    public double? Density
    {
        get;
        init => field = value is null or (> 0 and <= 1) ? value : throw new ArgumentOutOfRangeException(nameof(Density), value, "Density must be above 0 and at most 1.");
    }

    /// <summary>How TIES elects signs. PEFT: <c>majority_sign_method</c>.</summary>
    /// <value><see cref="MajoritySign.Total"/> by default.</value>
    public MajoritySign MajoritySign
    {
        get;
        init => field = Enum.IsDefined(value) ? value : throw new ArgumentOutOfRangeException(nameof(MajoritySign), value, "Unknown way to elect a sign.");
    }

    /// <summary>The seed of DARE's random choice: the same seed gives the same adapter.</summary>
    /// <value><see langword="null"/>, the default, draws from TorchSharp's global generator.</value>
    public ulong? Seed { get; init; }

    /// <summary>One adapter alone is only scaled, as in PEFT; but a rank that is asked for is given.</summary>
    internal CombinationType EffectiveType => Adapters.Count == 1 && SvdRank is null ? CombinationType.Linear : Type;

    /// <summary>Throws unless the combination makes sense for a model with these adapters.</summary>
    /// <param name="name">The name of the new adapter.</param>
    /// <param name="existing">The names of the model's adapters.</param>
    /// <exception cref="ArgumentException">A name is unknown, taken or not allowed, or the values do not go together.</exception>
    internal void Check(string name, IReadOnlyCollection<string> existing)
    {
        AdapterName.Check(name);
        if (existing.Contains(name, StringComparer.Ordinal))
        {
            throw new ArgumentException($"There is an adapter '{name}' already; delete it first or take another name.", nameof(name));
        }

        if (Adapters.FirstOrDefault(adapter => !existing.Contains(adapter, StringComparer.Ordinal)) is { } unknown)
        {
            throw new ArgumentException($"There is no adapter '{unknown}' to combine; there are: {(existing.Count == 0 ? "none" : string.Join(", ", existing))}.");
        }

        Check();
    }

    /// <summary>The rank of the new adapter at a weight where the adapters have these ranks.</summary>
    /// <exception cref="ArgumentException">The type needs equal ranks and they are not.</exception>
    internal int RankOf(IReadOnlyList<int> ranks)
    {
        if (EffectiveType == CombinationType.Cat)
        {
            return ranks.Sum();
        }

        if (EffectiveType.UsesSvd())
        {
            return SvdRank ?? ranks.Max();
        }

        return ranks.Distinct().Count() == 1
            ? ranks[0]
            : throw new ArgumentException(
                $"{EffectiveType} combines the factors one by one and needs equal ranks; the adapters have {string.Join(", ", ranks)}. " +
                $"{nameof(CombinationType.Cat)} and the types that end in Svd take any.");
    }

    /// <summary>Throws unless the values go together.</summary>
    internal void Check()
    {
        if (Weights.Count != Adapters.Count)
        {
            throw new ArgumentException($"There are {Adapters.Count} adapters and {Weights.Count} weights; each adapter needs one.");
        }

        if (EffectiveType.Prunes() && Density is null)
        {
            throw new ArgumentException($"{Type} needs a {nameof(Density)}: the share of elements to keep.");
        }

        if (!Type.Prunes() && Density is not null)
        {
            throw new ArgumentException($"{Type} keeps all elements; {nameof(Density)} is not for it.");
        }

        if (!Type.UsesSvd() && (SvdRank ?? SvdClamp) is not null)
        {
            throw new ArgumentException($"{Type} makes no singular value decomposition; {nameof(SvdRank)} and {nameof(SvdClamp)} are not for it.");
        }
    }
}
