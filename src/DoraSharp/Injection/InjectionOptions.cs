using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>How <see cref="AdapterInjector"/> goes about its work; what it adapts is said by <see cref="LoraOptions"/>.</summary>
public sealed record InjectionOptions
{
    /// <summary>The adapter's name.</summary>
    /// <value><c>default</c> by default, as in PEFT.</value>
    public string AdapterName
    {
        get;
        init
        {
            DoraSharp.AdapterName.Check(value);
            field = value;
        }
    } = DoraSharp.AdapterName.Default;

    /// <summary>
    /// A forward pass on a sample input, such as <c>() =&gt; model.call(sample)</c>, that returns the model's output.
    /// With it the injector sees how the model invokes its layers, chooses the route for sealed fields, and afterwards
    /// makes sure that every adapter is reached. It may run several times; what it makes is disposed afterwards, and state
    /// that a forward pass changes (a batch norm's running statistics in training mode, the random generator) stays changed.
    /// </summary>
    /// <value><see langword="null"/> by default: nothing is tried out.</value>
    public Func<Tensor>? Probe { get; init; }

    /// <summary>
    /// The route for layers whose field is declared as the sealed <c>Linear</c>, where no probe is to decide it. Without a
    /// probe nothing shows a wrong choice: a hook on a layer that is invoked by <c>forward</c> does nothing.
    /// </summary>
    /// <value><see langword="null"/> by default: the probe decides, and without a probe such layers are refused.</value>
    public InjectionRoute? SealedRoute
    {
        get;
        init => field = value is null or InjectionRoute.Hook or InjectionRoute.SubstituteWeight
            ? value
            : throw new ArgumentOutOfRangeException(nameof(SealedRoute), value, "A sealed field can be adapted by a hook or by weight substitution.");
    }

    /// <summary>The architecture's name in transformers, such as <c>llama</c>: by it <see cref="TargetModules.ModelDefault"/> is found, and old names of experts.</summary>
    /// <value><see langword="null"/> by default: not known.</value>
    public string? ModelType { get; init; }

    /// <summary>
    /// Accept entries of <see cref="AdapterOptions.TargetModules"/>, <see cref="LoraOptions.TargetParameters"/>,
    /// <see cref="AdapterOptions.ModulesToSave"/> and <see cref="LoraOptions.TrainableTokens"/> that match nothing as long as
    /// another entry matches, as PEFT does. They stand in the report.
    /// </summary>
    /// <value><see langword="false"/> by default: such an entry is an error.</value>
    public bool AllowUnmatchedTargets { get; init; }

    /// <summary>
    /// Accept adapter files that lack some of the adapter's tensors, which then keep their initial values, or that have
    /// some which the model has no place for, which are left out. The report lists them.
    /// </summary>
    /// <value><see langword="false"/> by default: such a file is refused.</value>
    public bool AllowMismatchedTensors { get; init; }

    /// <summary>
    /// The options of a <c>MultiheadAttention</c>, by its path, where trying it out does not show them: for one whose keys and
    /// values differ in width libtorch's own forward fails.
    /// </summary>
    /// <value>A function that may return <see langword="null"/>; <see langword="null"/> by default: the options are found by trying each attention out.</value>
    public Func<string, AttentionOptions?>? Attention { get; init; }

    /// <summary>What a data-driven initialization gathered of the layers: see <see cref="DataCollector"/>. It stays the caller's.</summary>
    /// <value><see langword="null"/> by default.</value>
    public InitializationData? InitializationData { get; init; }

    /// <summary>
    /// The dense weight [out, in] that a quantized layer was made of, by the layer's path, for <see cref="LoraInitialization.Loftq"/>: of a
    /// dense twin of the model, or read from its file. It is only read; what the function makes is disposed afterwards.
    /// PEFT: <c>replace_lora_weights_loftq</c>.
    /// </summary>
    /// <value><see langword="null"/> by default.</value>
    public Func<string, Tensor>? OriginalWeight { get; init; }

    /// <summary>
    /// The model's weights are already what the adapter's initialization left of them (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA):
    /// they are not changed again.
    /// </summary>
    /// <value><see langword="false"/> by default.</value>
    public bool BaseIsAdjusted { get; init; }
}
