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
}
