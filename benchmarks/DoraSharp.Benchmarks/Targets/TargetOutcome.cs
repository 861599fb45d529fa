namespace DoraSharp.Benchmarks;

/// <summary>A target's figure in one scenario.</summary>
internal sealed record TargetOutcome(Target Target, Scenario Scenario, double Figure, double Bound)
{
    public bool IsReached => Target.IsMinimum ? Figure >= Bound : Figure <= Bound;
}
