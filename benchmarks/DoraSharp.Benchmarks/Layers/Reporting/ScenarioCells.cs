using System.Globalization;

namespace DoraSharp.Benchmarks;

/// <summary>The cells that name a scenario in the tables of all scenarios.</summary>
internal static class ScenarioCells
{
    /// <summary>Mode, shape, dropout, dtype.</summary>
    public static IReadOnlyList<string> Of(Scenario scenario) =>
    [
        Names.Of(scenario.Mode),
        $"{scenario.Shape.In} → {scenario.Shape.Out}, {scenario.Shape.Tokens}, {scenario.Shape.Rank}",
        scenario.Dropout.ToString(CultureInfo.InvariantCulture),
        Names.Of(scenario.DType),
    ];
}
