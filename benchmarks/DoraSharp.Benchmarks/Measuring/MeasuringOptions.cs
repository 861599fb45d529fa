namespace DoraSharp.Benchmarks;

/// <summary>How to measure.</summary>
/// <param name="MinRounds">The rounds that a scenario gets even if its time is over.</param>
/// <param name="MaxRounds">The rounds after which it has enough.</param>
/// <param name="Threads">libtorch's threads.</param>
/// <param name="Clock">What steps are timed with, in milliseconds.</param>
/// <param name="MeasuresPeak">Whether each method also runs in a process of its own, for its peak memory.</param>
internal sealed record MeasuringOptions(int MinRounds, int MaxRounds, int Threads, Func<double> Clock, bool MeasuresPeak);
