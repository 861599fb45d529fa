namespace DoraSharp;

/// <summary>What every kind of adapter is told: which layers of a model it adapts, with which rank, and what trains besides.</summary>
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

    /// <summary>The rank r of the update. PEFT: <c>r</c>.</summary>
    /// <value>1 or more; the default is 8 for LoRA and 256 for VeRA.</value>
    public int Rank
    {
        get;
        init => field = value >= 1 ? value : throw new ArgumentOutOfRangeException(nameof(Rank), value, "Rank must be 1 or more.");
    } = 8;

    /// <summary>The probability that dropout zeroes an element of the adapter's input in training. PEFT: <c>lora_dropout</c>, <c>vera_dropout</c>.</summary>
    /// <value>0 (the default) to below 1.</value>
    public double Dropout
    {
        get;
        init => field = value is >= 0 and < 1 ? value : throw new ArgumentOutOfRangeException(nameof(Dropout), value, "Dropout must be at least 0 and below 1.");
    }

    /// <summary>Train a magnitude per output row as well: DoRA (arXiv 2402.09353), of VeRA DVoRA (its section 5.5). PEFT: <c>use_dora</c>, for LoRA only.</summary>
    public bool UseDora { get; init; }

    /// <summary>Only the layers with these indices are adapted; for targets given as a list. PEFT: <c>layers_to_transform</c>.</summary>
    /// <value>Empty by default: all layers.</value>
    public IReadOnlyList<int> LayersToTransform
    {
        get;
        init => field = [.. value ?? throw new ArgumentNullException(nameof(LayersToTransform))];
    } = [];

    /// <summary>The names before a layer's index, as regular expressions; needs <see cref="LayersToTransform"/>. PEFT: <c>layers_pattern</c>.</summary>
    /// <value>Empty by default: any name.</value>
    public IReadOnlyList<string> LayersPattern
    {
        get;
        init => field = NotEmpty(value, nameof(LayersPattern));
    } = [];

    /// <summary>Which biases of the model train. PEFT: <c>bias</c>.</summary>
    /// <value><see cref="BiasTraining.None"/> by default.</value>
    public BiasTraining Bias
    {
        get;
        init => field = Enum.IsDefined(value) ? value : throw new ArgumentOutOfRangeException(nameof(Bias), value, "Unknown bias training.");
    }

    /// <summary>Modules that are trained and saved whole, by the end of their paths. PEFT: <c>modules_to_save</c>.</summary>
    /// <value>Empty by default.</value>
    public IReadOnlyList<string> ModulesToSave
    {
        get;
        init => field = NotEmpty(value, nameof(ModulesToSave));
    } = [];

    /// <summary>Whether the adapted weights are stored [in, out]. Only recorded: every layer knows its own layout. PEFT: <c>fan_in_fan_out</c>.</summary>
    public bool FanInFanOut { get; init; }

    /// <summary>
    /// What the model does: <c>CAUSAL_LM</c>, <c>SEQ_CLS</c>, <c>SEQ_2_SEQ_LM</c>, <c>TOKEN_CLS</c>, <c>QUESTION_ANS</c> or <c>FEATURE_EXTRACTION</c>.
    /// The classification tasks add their heads to the modules that are saved. PEFT: <c>task_type</c>.
    /// </summary>
    /// <value><see langword="null"/> by default.</value>
    public string? TaskType { get; init; }

    /// <summary>Where the dropout acts, for DoRA. Not part of PEFT's file format.</summary>
    /// <value><see cref="DropoutPlacement.AdapterPath"/> by default.</value>
    public DropoutPlacement DropoutPlacement
    {
        get;
        init => field = Enum.IsDefined(value) ? value : throw new ArgumentOutOfRangeException(nameof(DropoutPlacement), value, "Unknown dropout placement.");
    }

    /// <summary>The kind and size in a few words.</summary>
    internal abstract string Summary { get; }

    private protected static string[] NotEmpty(IReadOnlyList<string> names, string property)
    {
        ArgumentNullException.ThrowIfNull(names, property);
        return names.Any(string.IsNullOrEmpty)
            ? throw new ArgumentException($"{property} has an empty entry.", property)
            : [.. names];
    }
}
