namespace DoraSharp.Transformers;

/// <summary>
/// Divides the low frequencies by a factor, keeps the high ones and blends those between: what Llama 3.1 does. Rope type <c>llama3</c>.
/// </summary>
public sealed record Llama3RopeScaling : RopeScaling
{
    /// <summary>What low frequencies are divided by.</summary>
    /// <value>A finite number above 0.</value>
    public required double Factor { get; init => field = Positive(value, nameof(Factor)); }

    /// <summary>Wavelengths above the original length divided by this are low frequencies.</summary>
    /// <value>A finite number above 0.</value>
    public required double LowFrequencyFactor { get; init => field = Positive(value, nameof(LowFrequencyFactor)); }

    /// <summary>Wavelengths below the original length divided by this are high frequencies.</summary>
    /// <value>A finite number above 0.</value>
    public required double HighFrequencyFactor { get; init => field = Positive(value, nameof(HighFrequencyFactor)); }

    /// <summary>The longest sequence of the first training.</summary>
    /// <value><see langword="null"/>, the default, stands for <see cref="LlamaConfig.MaxPositions"/>.</value>
    public int? OriginalMaxPositions { get; init => field = Positive(value, nameof(OriginalMaxPositions)); }

    internal override double[] InverseFrequencies(LlamaConfig config, long length)
    {
        double original = OriginalMaxPositions ?? config.MaxPositions;
        return [.. Unscaled(config.RopeTheta, config.HeadDimension).Select(frequency => Scale(frequency, original))];
    }

    private double Scale(double frequency, double original)
    {
        double turns = original * frequency / (2 * Math.PI);
        if (turns < LowFrequencyFactor)
        {
            return frequency / Factor;
        }

        if (turns > HighFrequencyFactor)
        {
            return frequency;
        }

        double kept = (turns - LowFrequencyFactor) / (HighFrequencyFactor - LowFrequencyFactor);
        return ((1 - kept) * frequency / Factor) + (kept * frequency);
    }
}
