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
        init => field = SettingRange.NotNegative(value, nameof(LearningRate));
    }

    /// <summary>The decay of the running mean of gradients. PEFT: <c>betas[0]</c>.</summary>
    /// <value>0 to below 1; the default is 0.9.</value>
    public double Beta1
    {
        get;
        init => field = SettingRange.Share(value, nameof(Beta1));
    } = 0.9;

    /// <summary>The decay of the running mean of squared gradients. PEFT: <c>betas[1]</c>.</summary>
    /// <value>0 to below 1; the default is 0.999.</value>
    public double Beta2
    {
        get;
        init => field = SettingRange.Share(value, nameof(Beta2));
    } = 0.999;

    /// <summary>What is added to the root of the mean square, before the correction of its bias. PEFT: <c>eps</c>.</summary>
    /// <value>A finite number, 0 or more; the default is 1e-6.</value>
    public double Epsilon
    {
        get;
        init => field = SettingRange.NotNegative(value, nameof(Epsilon));
    } = 1e-6;

    /// <summary>The weight decay of all but DoRA's magnitudes, which it would pull to 0. PEFT: <c>weight_decay</c>.</summary>
    /// <value>A finite number, 0 or more; the default is 0.</value>
    public double WeightDecay
    {
        get;
        init => field = SettingRange.NotNegative(value, nameof(WeightDecay));
    }
}
