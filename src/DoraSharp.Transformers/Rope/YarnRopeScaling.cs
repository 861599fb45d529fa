namespace DoraSharp.Transformers;

/// <summary>
/// Interpolates the slow channels, keeps the fast ones, ramps between, and sharpens the attention: YaRN (arXiv 2309.00071). Rope type <c>yarn</c>.
/// </summary>
public sealed record YarnRopeScaling : RopeScaling
{
    /// <summary>What slow frequencies are divided by.</summary>
    /// <value>A finite number above 0.</value>
    public required double Factor { get; init => field = Positive(value, nameof(Factor)); }

    /// <summary>The longest sequence of the first training.</summary>
    /// <value><see langword="null"/>, the default, stands for <see cref="LlamaConfig.MaxPositions"/>.</value>
    public int? OriginalMaxPositions { get; init => field = Positive(value, nameof(OriginalMaxPositions)); }

    /// <summary>Channels that turn more often than this over the original length are kept.</summary>
    /// <value>A finite number above 0; the default is 32.</value>
    public double BetaFast { get; init => field = Positive(value, nameof(BetaFast)); } = 32;

    /// <summary>Channels that turn less often than this over the original length are interpolated in full.</summary>
    /// <value>A finite number above 0; the default is 1.</value>
    public double BetaSlow { get; init => field = Positive(value, nameof(BetaSlow)); } = 1;

    /// <summary>What cosines and sines are multiplied by.</summary>
    /// <value><see langword="null"/>, the default, stands for the paper's 0.1·ln(factor) + 1, or what <see cref="MScale"/> makes of it.</value>
    public double? AttentionFactor { get; init => field = value is { } given ? Positive(given, nameof(AttentionFactor)) : null; }

    /// <summary>With <see cref="MScaleAllDimensions"/>, the weight of the logarithm in the numerator of the attention factor.</summary>
    public double? MScale { get; init; }

    /// <summary>With <see cref="MScale"/>, the weight of the logarithm in the denominator of the attention factor.</summary>
    public double? MScaleAllDimensions { get; init; }

    /// <summary>Whether the ends of the ramp are rounded outwards to whole channels.</summary>
    public bool Truncate { get; init; } = true;

    internal override double AttentionScale(LlamaConfig config)
    {
        if (AttentionFactor is { } given)
        {
            return given;
        }

        return MScale is { } scale and not 0 && MScaleAllDimensions is { } all and not 0
            ? Temperature(scale) / Temperature(all)
            : Temperature(1);
    }

    internal override double[] InverseFrequencies(LlamaConfig config, long length)
    {
        double[] frequencies = Unscaled(config.RopeTheta, config.HeadDimension);
        double low = Channel(BetaFast, config), high = Channel(BetaSlow, config);
        if (Truncate)
        {
            (low, high) = (Math.Floor(low), Math.Ceiling(high));
        }

        low = Math.Max(low, 0);
        high = Math.Min(high, config.HeadDimension - 1);
        double width = low == high ? 0.001 : high - low;
        for (int i = 0; i < frequencies.Length; i++)
        {
            double interpolated = Math.Clamp((i - low) / width, 0, 1);
            frequencies[i] *= (interpolated / Factor) + (1 - interpolated);
        }

        return frequencies;
    }

    /// <summary>The channel pair that makes <paramref name="turns"/> full turns over the original length.</summary>
    private double Channel(double turns, LlamaConfig config)
    {
        double original = OriginalMaxPositions ?? config.MaxPositions;
        return config.HeadDimension * Math.Log(original / (turns * 2 * Math.PI)) / (2 * Math.Log(config.RopeTheta));
    }

    private double Temperature(double scale) => Factor <= 1 ? 1 : (0.1 * scale * Math.Log(Factor)) + 1;
}
