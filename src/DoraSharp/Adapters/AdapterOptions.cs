namespace DoraSharp;

/// <summary>What every kind of adapter is told: which layers of a model it adapts.</summary>
/// <remarks>The matching rules are those of PEFT's <c>LoraConfig</c>: see <see cref="DoraSharp.TargetModules"/>.</remarks>
public abstract record AdapterOptions
{
    private protected AdapterOptions()
    {
    }

    /// <summary>The modules to adapt.</summary>
    /// <value>Names (<c>["q_proj", "v_proj"]</c>), a regular expression, or <see cref="TargetModules.AllLinear"/>, the default.</value>
    public TargetModules TargetModules
    {
        get;
        init => field = value ?? throw new ArgumentNullException(nameof(TargetModules));
    } = TargetModules.AllLinear;

    /// <summary>The modules to leave alone although <see cref="TargetModules"/> matches them; checked first.</summary>
    /// <value>Names or a regular expression; <see langword="null"/>, the default, excludes nothing.</value>
    public TargetModules? ExcludeModules
    {
        get;
        init
        {
            if (value is { IsAllLinear: true })
            {
                throw new ArgumentException("ExcludeModules takes names or a regular expression, not all-linear.", nameof(ExcludeModules));
            }

            field = value;
        }
    }

    /// <summary>
    /// What the model does: <c>CAUSAL_LM</c>, <c>SEQ_CLS</c>, <c>SEQ_2_SEQ_LM</c>, <c>TOKEN_CLS</c>, <c>QUESTION_ANS</c> or <c>FEATURE_EXTRACTION</c>.
    /// The classification tasks add their heads to the modules that are saved. PEFT: <c>task_type</c>.
    /// </summary>
    /// <value><see langword="null"/> by default.</value>
    public string? TaskType { get; init; }

    /// <summary>The probability that dropout zeroes an element of the adapter's input in training. PEFT: <c>lora_dropout</c>.</summary>
    /// <value>0 (the default) to below 1.</value>
    public double Dropout
    {
        get;
        init => field = value is >= 0 and < 1 ? value : throw new ArgumentOutOfRangeException(nameof(Dropout), value, "Dropout must be at least 0 and below 1.");
    }

    /// <summary>Where the dropout acts, for DoRA. Not part of PEFT's file format.</summary>
    /// <value><see cref="DropoutPlacement.AdapterPath"/> by default.</value>
    public DropoutPlacement DropoutPlacement
    {
        get;
        init => field = Enum.IsDefined(value) ? value : throw new ArgumentOutOfRangeException(nameof(DropoutPlacement), value, "Unknown dropout placement.");
    }

    /// <summary>Train a magnitude per output row as well: DoRA (arXiv 2402.09353). PEFT: <c>use_dora</c>.</summary>
    public bool UseDora { get; init; }

    /// <summary>The kind and size in a few words.</summary>
    internal abstract string Summary { get; }
}
