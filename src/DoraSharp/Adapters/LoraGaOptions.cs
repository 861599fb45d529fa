namespace DoraSharp;

/// <summary>Settings of LoRA-GA (arXiv 2407.05000). PEFT: <c>LoraGAConfig</c>.</summary>
public sealed record LoraGaOptions
{
    /// <summary>Which singular vectors of the gradient A and B get. PEFT: <c>direction</c>.</summary>
    public LoraGaDirection Direction
    {
        get;
        init => field = Enum.IsDefined(value) ? value : throw new ArgumentOutOfRangeException(nameof(Direction), value, "Unknown direction.");
    }

    /// <summary>How the factors are scaled. PEFT: <c>scale</c>.</summary>
    public LoraGaScale Scale
    {
        get;
        init => field = Enum.IsDefined(value) ? value : throw new ArgumentOutOfRangeException(nameof(Scale), value, "Unknown scale.");
    }

    /// <summary>γ of <see cref="LoraGaScale.Stable"/>. PEFT: <c>stable_gamma</c>.</summary>
    /// <value>Above 0; the default is 16.</value>
    public double StableGamma
    {
        get;
        init => field = double.IsFinite(value) && value > 0 ? value : throw new ArgumentOutOfRangeException(nameof(StableGamma), value, "γ must be above 0.");
    } = 16;
}
