using System.Globalization;

namespace DoraSharp;

/// <summary>The options of LoRA and, with <see cref="AdapterOptions.UseDora"/>, DoRA adapters. The twin of PEFT's <c>LoraConfig</c>.</summary>
/// <remarks>Immutable. Every value is checked where it is set; a bad one throws with the property's name.</remarks>
public sealed record LoraOptions : AdapterOptions
{
    /// <summary>The numerator α of the scaling. PEFT: <c>lora_alpha</c>.</summary>
    /// <value>A finite number; the default is 8.</value>
    public double Alpha
    {
        get;
        init => field = double.IsFinite(value) ? value : throw new ArgumentOutOfRangeException(nameof(Alpha), value, "Alpha must be finite.");
    } = 8;

    /// <summary>Scale by α/√r (rank-stabilised, arXiv 2312.03732) in place of α/r. PEFT: <c>use_rslora</c>.</summary>
    public bool UseRsLora { get; init; }

    /// <summary>How A and B start. PEFT: <c>init_lora_weights</c>.</summary>
    /// <value><see cref="LoraInitialization.Kaiming"/> by default.</value>
    public LoraInitialization Initialization
    {
        get;
        init => field = value ?? throw new ArgumentNullException(nameof(Initialization));
    } = LoraInitialization.Kaiming;

    /// <summary>Settings of <see cref="LoraInitialization.Eva"/>. PEFT: <c>eva_config</c>.</summary>
    public EvaOptions? Eva { get; init; }

    /// <summary>Settings of <see cref="LoraInitialization.Corda"/>. PEFT: <c>corda_config</c>.</summary>
    public CordaOptions? Corda { get; init; }

    /// <summary>Settings of <see cref="LoraInitialization.Loftq"/>. PEFT: <c>loftq_config</c>.</summary>
    public LoftqOptions? Loftq { get; init; }

    /// <summary>Settings of <see cref="LoraInitialization.LoraGa"/>. PEFT: <c>lora_ga_config</c>.</summary>
    public LoraGaOptions? LoraGa { get; init; }

    /// <summary>Ranks that differ from <see cref="AdapterOptions.Rank"/>, by pattern; the first that matches a path decides. PEFT: <c>rank_pattern</c>.</summary>
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

    /// <summary>Give B a bias of its own: y = W x + b + s·(B(A x) + c). Not with DoRA. PEFT: <c>lora_bias</c>.</summary>
    public bool LoraBias { get; init; }

    /// <summary>Rows of embeddings that train. PEFT: <c>trainable_token_indices</c>.</summary>
    /// <value>Empty by default.</value>
    public IReadOnlyList<TrainableTokens> TrainableTokens
    {
        get;
        init => field = [.. value ?? throw new ArgumentNullException(nameof(TrainableTokens))];
    } = [];

    /// <summary>Parameters that are adapted themselves, by the end of their full names: mixture-of-experts weights. PEFT: <c>target_parameters</c>.</summary>
    /// <value>Empty by default.</value>
    public IReadOnlyList<string> TargetParameters
    {
        get;
        init => field = NotEmpty(value, nameof(TargetParameters));
    } = [];

    /// <summary>Adapters or saved copies of a tied embedding and head stay one. PEFT: <c>ensure_weight_tying</c>.</summary>
    public bool EnsureWeightTying { get; init; }

    /// <summary>The shape of the update of convolutions with groups. Not part of PEFT's file format.</summary>
    /// <value><see cref="GroupedUpdate.Peft"/> by default.</value>
    public GroupedUpdate GroupedUpdate
    {
        get;
        init => field = Enum.IsDefined(value) ? value : throw new ArgumentOutOfRangeException(nameof(GroupedUpdate), value, "Unknown grouped update.");
    }

    /// <summary>
    /// Add the update of an attention's output projection twice, as PEFT does by mistake: for adapters that were trained
    /// there. Not part of PEFT's file format.
    /// </summary>
    /// <remarks>
    /// For a folder that PEFT wrote: inject its options (<see cref="PeftFolder.Options"/>) with this set, then
    /// <see cref="AdaptedModel.Load(string)"/> its values. The scaling of that projection is twice α/r then.
    /// </remarks>
    public bool DoublesAttentionOutput { get; init; }

    /// <summary>The scaling s = α/r, or α/√r with <see cref="UseRsLora"/>.</summary>
    public double Scaling => UseRsLora ? Alpha / Math.Sqrt(Rank) : Alpha / Rank;

    internal override string Summary =>
        string.Create(CultureInfo.InvariantCulture, $"{(UseDora ? "DoRA" : "LoRA")} rank {Rank}, alpha {Alpha}{(UseRsLora ? ", rank-stabilised" : "")}");

    /// <summary>What the options of an adapter of any kind say about where and how it trains, for LoRA.</summary>
    internal static LoraOptions From(AdapterOptions options) => options as LoraOptions ?? new LoraOptions
    {
        Rank = options.Rank,
        Dropout = options.Dropout,
        DropoutPlacement = options.DropoutPlacement,
        TargetModules = options.TargetModules,
        ExcludeModules = options.ExcludeModules,
        TaskType = options.TaskType,
        LayersToTransform = options.LayersToTransform,
        LayersPattern = options.LayersPattern,
        Bias = options.Bias,
        ModulesToSave = options.ModulesToSave,
        FanInFanOut = options.FanInFanOut,
        GroupedUpdate = GroupedUpdate.Mergeable,
    };

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
