namespace DoraSharp;

/// <summary>The settings of LoRA-FA (arXiv 2308.03303). PEFT: the arguments of <c>create_lorafa_optimizer</c>.</summary>
/// <remarks>Immutable. Every value is checked where it is set.</remarks>
public sealed record LoraFaOptions
{
    /// <summary>The learning rate. PEFT: <c>lr</c>.</summary>
    /// <value>A finite number, 0 or more.</value>
    public required double LearningRate
    {
        get;
        init => field = NotNegative(value, nameof(LearningRate));
    }

    /// <summary>The decay of the running mean of gradients. PEFT: <c>betas[0]</c>.</summary>
    /// <value>0 to below 1; the default is 0.9.</value>
    public double Beta1
    {
        get;
        init => field = Share(value, nameof(Beta1));
    } = 0.9;

    /// <summary>The decay of the running mean of squared gradients. PEFT: <c>betas[1]</c>.</summary>
    /// <value>0 to below 1; the default is 0.999.</value>
    public double Beta2
    {
        get;
        init => field = Share(value, nameof(Beta2));
    } = 0.999;

    /// <summary>What is added to the root of the mean square, before the correction of its bias. PEFT: <c>eps</c>.</summary>
    /// <value>A finite number, 0 or more; the default is 1e-6.</value>
    public double Epsilon
    {
        get;
        init => field = NotNegative(value, nameof(Epsilon));
    } = 1e-6;

    /// <summary>The weight decay of all but DoRA's magnitudes, which it would pull to 0. PEFT: <c>weight_decay</c>.</summary>
    /// <value>A finite number, 0 or more; the default is 0.</value>
    public double WeightDecay
    {
        get;
        init => field = NotNegative(value, nameof(WeightDecay));
    }

    private static double NotNegative(double value, string name) =>
        double.IsFinite(value) && value >= 0 ? value : throw new ArgumentOutOfRangeException(name, value, $"{name} must be a finite number, 0 or more.");

    private static double Share(double value, string name) =>
        value is >= 0 and < 1 ? value : throw new ArgumentOutOfRangeException(name, value, $"{name} must be at least 0 and below 1.");
}
