namespace DoraSharp.Transformers;

/// <summary>
/// Enlarges the base θ once a sequence is longer than <see cref="LlamaConfig.MaxPositions"/> (NTK-aware scaling). Rope type <c>dynamic</c>.
/// </summary>
/// <remarks>
/// The base depends on the length of the sequence at hand and on nothing that the model saw before. Keys in a key-value cache keep
/// the rotation of the step that wrote them, as in transformers.
/// </remarks>
public sealed record DynamicRopeScaling : RopeScaling
{
    /// <summary>How fast the base grows with the length.</summary>
    /// <value>A finite number above 0.</value>
    public required double Factor { get; init => field = Positive(value, nameof(Factor)); }

    internal override double[] InverseFrequencies(LlamaConfig config, long length)
    {
        double excess = (double)Math.Max(length, config.MaxPositions) / config.MaxPositions;
        double growth = (Factor * excess) - (Factor - 1);
        double power = config.HeadDimension / (config.HeadDimension - 2.0);
        return Unscaled(config.RopeTheta * Math.Pow(growth, power), config.HeadDimension);
    }
}
