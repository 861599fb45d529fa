using System.Diagnostics;

namespace DoraSharp.Benchmarks;

/// <summary>The time for all scenarios together: what an early one leaves over is shared by those that follow.</summary>
/// <param name="total">The time, from now on.</param>
/// <param name="isFirm">Whether scenarios that do not fit in are left out; otherwise they get their least number of rounds.</param>
internal sealed class TimeBudget(TimeSpan total, bool isFirm)
{
    private readonly long start = Stopwatch.GetTimestamp();

    public bool IsSpent => isFirm && Left <= TimeSpan.Zero;

    private TimeSpan Left => total - Stopwatch.GetElapsedTime(start);

    /// <summary>The next scenario's time, when <paramref name="scenarios"/> are still to be measured.</summary>
    public TimeSpan Share(int scenarios) => Left / scenarios;
}
