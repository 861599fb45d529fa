namespace DoraSharp;

/// <summary>What the types of combination consist of.</summary>
internal static class CombinationTypes
{
    /// <summary>Whether the result is a decomposition of the combined updates, rather than made of the factors.</summary>
    public static bool UsesSvd(this CombinationType type) => type
        is CombinationType.Svd
        or CombinationType.TiesSvd
        or CombinationType.DareLinearSvd
        or CombinationType.DareTiesSvd
        or CombinationType.MagnitudePruneSvd;

    /// <summary>Whether only a share of the elements is kept.</summary>
    public static bool Prunes(this CombinationType type) => type is not (CombinationType.Svd or CombinationType.Linear or CombinationType.Cat);

    /// <summary>Whether the elements to keep are drawn at random and rescaled.</summary>
    public static bool PrunesAtRandom(this CombinationType type) => type
        is CombinationType.DareLinear
        or CombinationType.DareTies
        or CombinationType.DareLinearSvd
        or CombinationType.DareTiesSvd;

    /// <summary>Whether a sign is elected per element, and what agrees is averaged.</summary>
    public static bool ElectsSigns(this CombinationType type) => type
        is CombinationType.Ties
        or CombinationType.TiesSvd
        or CombinationType.DareTies
        or CombinationType.DareTiesSvd;
}
