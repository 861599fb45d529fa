using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>Which scenarios of a grid to measure; an empty list lets all through.</summary>
/// <param name="Shapes">Shapes to measure in place of the grid's own.</param>
/// <param name="Sizes">The (in, out) to keep.</param>
/// <param name="Tokens">The numbers of tokens to keep.</param>
/// <param name="Ranks">The ranks to keep.</param>
/// <param name="Modes">The modes to keep.</param>
/// <param name="DTypes">The dtypes to keep.</param>
/// <param name="Dropouts">The dropouts to keep.</param>
internal sealed record ScenarioFilter(
    IReadOnlyList<LayerShape> Shapes,
    IReadOnlyList<(long In, long Out)> Sizes,
    IReadOnlyList<long> Tokens,
    IReadOnlyList<int> Ranks,
    IReadOnlyList<StepMode> Modes,
    IReadOnlyList<ScalarType> DTypes,
    IReadOnlyList<double> Dropouts)
{
    public IReadOnlyList<Scenario> Apply(IReadOnlyList<Scenario> grid)
    {
        IEnumerable<Scenario> reshaped = Shapes.Count == 0
            ? grid
            : grid.SelectMany(scenario => Shapes.Select(shape => scenario with { Shape = shape })).Distinct();
        return [.. reshaped.Where(IsKept)];
    }

    private bool IsKept(Scenario scenario) =>
        Keeps(Sizes, (scenario.Shape.In, scenario.Shape.Out)) && Keeps(Tokens, scenario.Shape.Tokens) && Keeps(Ranks, scenario.Shape.Rank)
        && Keeps(Modes, scenario.Mode) && Keeps(DTypes, scenario.DType) && Keeps(Dropouts, scenario.Dropout);

    private static bool Keeps<T>(IReadOnlyList<T> kept, T value) => kept.Count == 0 || kept.Contains(value);
}
