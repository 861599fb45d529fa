namespace DoraSharp;

/// <summary>The settings of LoRA+ (arXiv 2402.12354). PEFT: the arguments of <c>create_loraplus_optimizer</c>.</summary>
/// <remarks>Immutable. Every value is checked where it is set.</remarks>
public sealed record LoraPlusOptions
{
    /// <summary>The learning rate η of A and of all that is in no other group. PEFT: <c>lr</c>.</summary>
    /// <value>A finite number, 0 or more.</value>
    public required double LearningRate
    {
        get;
        init => field = SettingRange.NotNegative(value, nameof(LearningRate));
    }

    /// <summary>λ: B learns at λ·η. PEFT: <c>loraplus_lr_ratio</c>.</summary>
    /// <value>A finite number above 0. The paper takes 16 (2⁴) for its models and sets η lower for it.</value>
    public required double Ratio
    {
        get;
        init => field = double.IsFinite(value) && value > 0 ? value : throw new ArgumentOutOfRangeException(nameof(Ratio), value, "Ratio must be a finite number above 0.");
    }

    /// <summary>The learning rate of an embedding's A and B. PEFT: <c>loraplus_lr_embedding</c>.</summary>
    /// <value>A finite number, 0 or more; the default is 1e-6.</value>
    public double EmbeddingLearningRate
    {
        get;
        init => field = SettingRange.NotNegative(value, nameof(EmbeddingLearningRate));
    } = 1e-6;

    /// <summary>The weight decay, of all but biases and normalisation weights. PEFT: <c>loraplus_weight_decay</c>.</summary>
    /// <value>A finite number, 0 or more; the default is 0.</value>
    public double WeightDecay
    {
        get;
        init => field = SettingRange.NotNegative(value, nameof(WeightDecay));
    }

    /// <summary>
    /// Give DoRA's magnitudes a group of their own: rate η, no decay. The paper's argument for a faster B is about B alone, and decay
    /// pulls a magnitude, which starts at the norm of a weight, to 0.
    /// </summary>
    /// <value>
    /// <see langword="false"/> by default: PEFT's rule, by which they learn at λ·η and decay, but at η where they belong to a convolution.
    /// </value>
    public bool SeparateMagnitudes { get; init; }
}
