namespace DoraSharp.Experiments.Quantization;

/// <summary>Several runs' mean and its standard error.</summary>
internal readonly record struct Spread(double Mean, double StandardError)
{
    /// <summary>Of some values; the error of one alone is not known.</summary>
    public static Spread Of(IReadOnlyCollection<double> values)
    {
        double mean = values.Average();
        double variance = values.Count > 1 ? values.Sum(value => (value - mean) * (value - mean)) / (values.Count - 1) : double.NaN;
        return new(mean, Math.Sqrt(variance / values.Count));
    }
}
