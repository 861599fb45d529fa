namespace DoraSharp;

/// <summary>The settings of <see cref="AdamW8Bit"/>. bitsandbytes: the arguments of <c>AdamW8bit</c>, with its defaults.</summary>
/// <remarks>Immutable. Every value is checked where it is set.</remarks>
public sealed record AdamW8BitOptions
{
    /// <summary>The learning rate η. bitsandbytes: <c>lr</c>.</summary>
    /// <value>A finite number, 0 or more; the default is 1e-3.</value>
    public double LearningRate
    {
        get;
        init => field = SettingRange.NotNegative(value, nameof(LearningRate));
    } = 1e-3;

    /// <summary>The decay β₁ of the running mean of gradients. bitsandbytes: <c>betas[0]</c>.</summary>
    /// <value>0 to below 1; the default is 0.9.</value>
    public double Beta1
    {
        get;
        init => field = SettingRange.Share(value, nameof(Beta1));
    } = 0.9;

    /// <summary>The decay β₂ of the running mean of squared gradients. bitsandbytes: <c>betas[1]</c>.</summary>
    /// <value>0 to below 1; the default is 0.999.</value>
    public double Beta2
    {
        get;
        init => field = SettingRange.Share(value, nameof(Beta2));
    } = 0.999;

    /// <summary>What is added to the root of the mean square, after the correction of its bias. bitsandbytes: <c>eps</c>.</summary>
    /// <value>A finite number, 0 or more; the default is 1e-8.</value>
    public double Epsilon
    {
        get;
        init => field = SettingRange.NotNegative(value, nameof(Epsilon));
    } = 1e-8;

    /// <summary>The weight decay λ: each step multiplies a parameter by 1 − η·λ first. bitsandbytes: <c>weight_decay</c>.</summary>
    /// <value>A finite number, 0 or more; the default is 0.01.</value>
    public double WeightDecay
    {
        get;
        init => field = SettingRange.NotNegative(value, nameof(WeightDecay));
    } = 0.01;

    /// <summary>Parameters with fewer elements keep their states in 32 bits. bitsandbytes: <c>min_8bit_size</c>.</summary>
    /// <value>A number of elements, 0 or more; the default is 4096.</value>
    public long Min8BitSize
    {
        get;
        init => field = value >= 0 ? value : throw new ArgumentOutOfRangeException(nameof(Min8BitSize), value, "Min8BitSize must be 0 or more.");
    } = 4096;
}
