namespace DoraSharp.Samples.Quickstart;

/// <summary>How a merged model compares with the adapted one and with the base.</summary>
/// <param name="ReloadError">The loaded adapter's logits against the trained one's: the largest difference over the largest logit.</param>
/// <param name="MaxRelativeError">The merged model's logits against the adapted one's, likewise.</param>
/// <param name="IsPlain">The merged model has the base's modules and parameters, nothing else.</param>
/// <param name="TimeRatio">The merged model's time over the base's: medians of interleaved runs.</param>
public sealed record MergeResult(double ReloadError, double MaxRelativeError, bool IsPlain, double TimeRatio)
{
    /// <summary>What float32 arithmetic in another order may change.</summary>
    public const double Tolerance = 1e-5;

    /// <summary>
    /// Above this the clock was disturbed, since the two models run the same operations on weights of the same shapes. What
    /// makes them the same is checked (<see cref="IsPlain"/>); the time is information.
    /// </summary>
    public const double SlowestRatio = 1.25;

    /// <summary>Whether all is as it should be; the time, which other work on the machine can change, has no say.</summary>
    public bool Passed => ReloadError <= Tolerance && MaxRelativeError <= Tolerance && IsPlain;
}
