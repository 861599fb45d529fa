namespace DoraSharp.Samples;

/// <summary>What a training left behind.</summary>
/// <param name="Training">The loss of each step's batch.</param>
/// <param name="HeldOut">The held-out loss before the first step, on the way and after the last.</param>
/// <param name="Duration">The time of the steps; measuring the held-out loss is not counted.</param>
public sealed record TrainingCurve(IReadOnlyList<double> Training, IReadOnlyList<(int Step, double Loss)> HeldOut, TimeSpan Duration)
{
    /// <summary>The held-out loss of the untouched model.</summary>
    public double Before => HeldOut[0].Loss;

    /// <summary>The held-out loss of the trained model.</summary>
    public double After => HeldOut[^1].Loss;
}
