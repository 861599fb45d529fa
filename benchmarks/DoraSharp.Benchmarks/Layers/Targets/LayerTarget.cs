namespace DoraSharp.Benchmarks;

/// <summary>A figure that the library's layers are meant to reach, where it applies.</summary>
/// <param name="Name">What is asked.</param>
/// <param name="Applies">The scenarios in which it is asked.</param>
/// <param name="Figure">The measured figure; <see langword="null"/> where it could not be measured.</param>
/// <param name="Bound">What the figure is held against.</param>
/// <param name="IsMinimum">Whether the figure must be at least the bound; at most otherwise.</param>
internal sealed record LayerTarget(
    string Name,
    Predicate<Scenario> Applies,
    Func<ScenarioResult, double?> Figure,
    Func<Scenario, double> Bound,
    bool IsMinimum = false)
{
    /// <summary>The target's outcome in a scenario in which it applies and the figure could be measured.</summary>
    public TargetOutcome? Judge(ScenarioResult result) => Applies(result.Scenario) && Figure(result) is { } figure
        ? new(Name, result.Scenario.ToString(), figure, Bound(result.Scenario), IsMinimum)
        : null;
}
