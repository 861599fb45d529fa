namespace DoraSharp;

/// <summary>What matching knows of a parameter.</summary>
/// <param name="Name">Its name in its module.</param>
/// <param name="Shape">Its shape.</param>
internal sealed record ParameterDescription(string Name, IReadOnlyList<long> Shape)
{
    /// <summary>The number of its scalars.</summary>
    public long Count => Shape.Aggregate(1L, static (product, length) => product * length);
}
