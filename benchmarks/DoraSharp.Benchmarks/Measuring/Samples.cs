namespace DoraSharp.Benchmarks;

/// <summary>The step times of one method, in milliseconds.</summary>
internal sealed class Samples
{
    private readonly List<double> values = [];

    public int Count => values.Count;

    public double Median => Quantile(.5);

    /// <summary>Half the distance between the quartiles over the median: how noisy the machine was.</summary>
    public double Spread => (Quantile(.75) - Quantile(.25)) / 2 / Median;

    public void Add(double milliseconds) => values.Add(milliseconds);

    /// <summary>Linear between the two nearest samples.</summary>
    private double Quantile(double share)
    {
        double[] sorted = [.. values.Order()];
        double position = share * (sorted.Length - 1);
        int below = (int)position;
        int above = Math.Min(below + 1, sorted.Length - 1);
        return sorted[below] + ((position - below) * (sorted[above] - sorted[below]));
    }
}
