namespace DoraSharp.Samples;

/// <summary>Factors of the learning rate by step: a linear warm-up, then a way down.</summary>
public static class LearningRateSchedule
{
    /// <summary>Down to zero along a line.</summary>
    public static Func<int, double> Linear(int warmup, int steps) => step => Warmup(step, warmup) ?? 1 - Progress(step, warmup, steps);

    /// <summary>Down to <paramref name="floor"/> along half a cosine.</summary>
    public static Func<int, double> Cosine(int warmup, int steps, double floor) => step =>
        Warmup(step, warmup) ?? (floor + ((1 - floor) * 0.5 * (1 + Math.Cos(Math.PI * Progress(step, warmup, steps)))));

    private static double? Warmup(int step, int warmup) => step < warmup ? (step + 1.0) / warmup : null;

    private static double Progress(int step, int warmup, int steps) => Math.Min(1, (step - warmup) / (double)Math.Max(1, steps - warmup));
}
