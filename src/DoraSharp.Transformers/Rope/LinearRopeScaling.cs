namespace DoraSharp.Transformers;

/// <summary>Divides every position by a factor: position interpolation (arXiv 2306.15595). Rope type <c>linear</c>.</summary>
public sealed record LinearRopeScaling : RopeScaling
{
    /// <summary>What positions are divided by.</summary>
    /// <value>A finite number above 0.</value>
    public required double Factor { get; init => field = Positive(value, nameof(Factor)); }

    internal override double[] InverseFrequencies(LlamaConfig config, long length)
        => [.. Unscaled(config.RopeTheta, config.HeadDimension).Select(frequency => frequency / Factor)];
}
