namespace DoraSharp;

/// <summary>Settings of EVA (arXiv 2410.07170). PEFT: <c>EvaConfig</c>.</summary>
public sealed record EvaOptions
{
    /// <summary>How many times its rank a layer may get when ranks are redistributed by explained variance. PEFT: <c>rho</c>.</summary>
    /// <value>1 or more; 1 keeps every rank as it is. The default is 2.</value>
    public double Rho
    {
        get;
        init => field = double.IsFinite(value) && value >= 1 ? value : throw new ArgumentOutOfRangeException(nameof(Rho), value, "Rho must be 1 or more.");
    } = 2;

    /// <summary>The cosine between a component and its predecessor above which it counts as converged. PEFT: <c>tau</c>.</summary>
    /// <value>0 to 1; the default is 0.99.</value>
    public double Tau
    {
        get;
        init => field = value is >= 0 and <= 1 ? value : throw new ArgumentOutOfRangeException(nameof(Tau), value, "Tau must be between 0 and 1.");
    } = 0.99;

    /// <summary>Leave out the tokens whose label is <see cref="LabelMaskValue"/>. PEFT: <c>use_label_mask</c>.</summary>
    public bool UseLabelMask { get; init; } = true;

    /// <summary>The label of tokens to leave out. PEFT: <c>label_mask_value</c>.</summary>
    public int LabelMaskValue { get; init; } = -100;

    /// <summary>Divide each component by its singular value. PEFT: <c>whiten</c>.</summary>
    public bool Whiten { get; init; }

    /// <summary>Scale α with a redistributed rank, so that α/r stays. PEFT: <c>adjust_scaling_factors</c>.</summary>
    public bool AdjustScalingFactors { get; init; } = true;
}
