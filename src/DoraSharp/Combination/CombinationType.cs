namespace DoraSharp;

/// <summary>How several adapters become one. PEFT: the <c>combination_type</c> of <c>add_weighted_adapter</c>.</summary>
/// <remarks>
/// <para>
/// A type acts on the factors A and B one by one (<see cref="Linear"/>, <see cref="Ties"/>, <see cref="DareLinear"/>,
/// <see cref="DareTies"/>, <see cref="MagnitudePrune"/>), which needs equal ranks and is not the sum of the updates; or on
/// the updates s·B·A themselves, whose result is cut to a rank by a singular value decomposition (the types that end in
/// <c>Svd</c>); or it stacks the factors (<see cref="Cat"/>), which is the exact sum.
/// </para>
/// <para>One adapter alone is only scaled, as by <see cref="Linear"/>, unless <see cref="AdapterCombination.SvdRank"/> is set.</para>
/// </remarks>
public enum CombinationType
{
    /// <summary>The weighted sum of the updates, cut to a rank. Exact where the rank is that of the sum. PEFT: <c>svd</c>.</summary>
    Svd,

    /// <summary>A' = Σ sign(w·s)·√|w·s|·A and B' = Σ √|w·s|·B: cross terms between the adapters appear. PEFT: <c>linear</c>.</summary>
    Linear,

    /// <summary>The exact weighted sum of the updates; the ranks add up. PEFT: <c>cat</c>.</summary>
    Cat,

    /// <summary>TIES (arXiv 2306.01708) on each factor: trim, elect a sign per element, average what agrees. PEFT: <c>ties</c>.</summary>
    Ties,

    /// <summary>TIES on the updates, cut to a rank. PEFT: <c>ties_svd</c>.</summary>
    TiesSvd,

    /// <summary>DARE (arXiv 2311.03099) on each factor: drop at random, rescale the rest by 1/density, then <see cref="Linear"/>. PEFT: <c>dare_linear</c>.</summary>
    DareLinear,

    /// <summary>DARE on each factor, then the sign election and the average of TIES. PEFT: <c>dare_ties</c>.</summary>
    DareTies,

    /// <summary>DARE on the updates, their weighted sum, cut to a rank. PEFT: <c>dare_linear_svd</c>.</summary>
    DareLinearSvd,

    /// <summary>DARE on the updates, sign election and average of TIES, cut to a rank. PEFT: <c>dare_ties_svd</c>.</summary>
    DareTiesSvd,

    /// <summary>Keep the largest elements of each factor, then <see cref="Linear"/>. PEFT: <c>magnitude_prune</c>.</summary>
    MagnitudePrune,

    /// <summary>Keep the largest elements of each update, their weighted sum, cut to a rank. PEFT: <c>magnitude_prune_svd</c>.</summary>
    MagnitudePruneSvd,
}
