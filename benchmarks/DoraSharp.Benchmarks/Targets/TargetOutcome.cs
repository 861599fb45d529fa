namespace DoraSharp.Benchmarks;

/// <summary>A target beside its measured figure.</summary>
/// <param name="Target">What is asked.</param>
/// <param name="Setting">Where it was measured.</param>
/// <param name="Figure">The measured figure.</param>
/// <param name="Bound">What the figure is held against.</param>
/// <param name="IsMinimum">Whether the figure must be at least the bound; at most otherwise.</param>
internal sealed record TargetOutcome(string Target, string Setting, double Figure, double Bound, bool IsMinimum = false)
{
    public bool IsReached => IsMinimum ? Figure >= Bound : Figure <= Bound;
}
