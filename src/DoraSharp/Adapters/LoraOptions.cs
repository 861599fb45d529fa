namespace DoraSharp;

/// <summary>The options of LoRA and, with <see cref="UseDora"/>, DoRA adapters. The twin of PEFT's <c>LoraConfig</c>.</summary>
/// <remarks>Immutable. Every value is checked where it is set; a bad one throws with the property's name.</remarks>
public sealed record LoraOptions : AdapterOptions
{
    /// <summary>The rank r of the update s·B·A. PEFT: <c>r</c>.</summary>
    /// <value>1 or more; the default is 8.</value>
    public int Rank
    {
        get;
        init => field = value >= 1 ? value : throw new ArgumentOutOfRangeException(nameof(Rank), value, "Rank must be 1 or more.");
    } = 8;

    /// <summary>The numerator α of the scaling. PEFT: <c>lora_alpha</c>.</summary>
    /// <value>A finite number; the default is 8.</value>
    public double Alpha
    {
        get;
        init => field = double.IsFinite(value) ? value : throw new ArgumentOutOfRangeException(nameof(Alpha), value, "Alpha must be finite.");
    } = 8;

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

    /// <summary>Scale by α/√r (rank-stabilised, arXiv 2312.03732) in place of α/r. PEFT: <c>use_rslora</c>.</summary>
    public bool UseRsLora { get; init; }

    /// <summary>Train a magnitude per output row as well: DoRA (arXiv 2402.09353). PEFT: <c>use_dora</c>.</summary>
    public bool UseDora { get; init; }

    /// <summary>How A and B start. PEFT: <c>init_lora_weights</c>.</summary>
    /// <value><see cref="LoraInitialization.Kaiming"/> by default.</value>
    public LoraInitialization Initialization
    {
        get;
        init => field = Enum.IsDefined(value) ? value : throw new ArgumentOutOfRangeException(nameof(Initialization), value, "Unknown initialization.");
    }

    /// <summary>Ranks that differ from <see cref="Rank"/>, by pattern; the first that matches a path decides. PEFT: <c>rank_pattern</c>.</summary>
    /// <value>Patterns in order; empty by default. A pattern matches a path as PEFT's do: as the regular expression <c>(.*\.)?(pattern)$</c>, or literally.</value>
    public IReadOnlyList<KeyValuePair<string, int>> RankPattern
    {
        get;
        init => field = Checked(value, nameof(RankPattern), static r => r >= 1);
    } = [];

    /// <summary>Alphas that differ from <see cref="Alpha"/>, by pattern; the first that matches a path decides. PEFT: <c>alpha_pattern</c>.</summary>
    /// <value>Patterns in order; empty by default.</value>
    public IReadOnlyList<KeyValuePair<string, double>> AlphaPattern
    {
        get;
        init => field = Checked(value, nameof(AlphaPattern), double.IsFinite);
    } = [];

    /// <summary>The scaling s = α/r, or α/√r with <see cref="UseRsLora"/>.</summary>
    public double Scaling => UseRsLora ? Alpha / Math.Sqrt(Rank) : Alpha / Rank;

    private static KeyValuePair<string, T>[] Checked<T>(IReadOnlyList<KeyValuePair<string, T>> patterns, string name, Predicate<T> valid)
    {
        ArgumentNullException.ThrowIfNull(patterns, name);
        foreach ((string pattern, T value) in patterns)
        {
            if (string.IsNullOrEmpty(pattern) || !valid(value))
            {
                throw new ArgumentException($"{name} has the entry '{pattern}': {value}. Patterns must not be empty, ranks must be 1 or more, alphas finite.", name);
            }
        }

        return [.. patterns];
    }
}
