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

    /// <summary>What the clock's noise may change: the two models run the same operations on weights of the same shapes.</summary>
    public const double SlowestRatio = 1.25;

    /// <summary>Whether all is as it should be.</summary>
    public bool Passed => ReloadError <= Tolerance && MaxRelativeError <= Tolerance && IsPlain && TimeRatio <= SlowestRatio;
}
