using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace DoraSharp;

/// <summary>The fields of PEFT's <c>LoraConfig</c>.</summary>
internal static class LoraFields
{
    private const string FastPissa = "pissa_niter_";
    private static readonly PeftNames<DropoutPlacement> Placements = new(("adapter_path", DropoutPlacement.AdapterPath), ("peft", DropoutPlacement.Peft));
    private static readonly PeftNames<GroupedUpdate> GroupedUpdates = new(("peft", GroupedUpdate.Peft), ("mergeable", GroupedUpdate.Mergeable));

    private static readonly LoraInitialization[] NamedInitializations =
    [
        LoraInitialization.Gaussian, LoraInitialization.Orthogonal, LoraInitialization.Pissa, LoraInitialization.Olora,
        LoraInitialization.Eva, LoraInitialization.Corda, LoraInitialization.Loftq, LoraInitialization.LoraGa,
    ];

    public static IReadOnlyList<PeftField<AdapterOptions>> All { get; } =
    [
        .. CommonFields.All,
        CommonFields.Bias("lora_only"),
        CommonFields.Dropout("lora_dropout"),
        Only("alora_invocation_tokens", null),
        Field("alpha_pattern", static o => PeftNodes.Pairs(o.AlphaPattern, PythonJson.Number), static (o, v) => o with { AlphaPattern = v.Pairs(static alpha => alpha.Number()) }),
        Only("arrow_config", null),
        Field("corda_config", static o => PeftNodes.Object(o.Corda, InitializationFields.Corda), static (o, v) => o with { Corda = v.Object(new(), InitializationFields.Corda) }),
        Field("ensure_weight_tying", static o => o.EnsureWeightTying, static (o, v) => o with { EnsureWeightTying = v.Boolean() }),
        Field("eva_config", static o => PeftNodes.Object(o.Eva, InitializationFields.Eva), static (o, v) => o with { Eva = v.Object(new(), InitializationFields.Eva) }),
        Field("exclude_modules", static o => PeftNodes.Modules(o.ExcludeModules), static (o, v) => o with { ExcludeModules = v.Modules() is { IsNone: false } modules ? modules : null }),
        Field("init_lora_weights", static o => Initialization(o.Initialization), static (o, v) => o with { Initialization = Initialization(v) }),
        Only("kasa_config", null),
        Only("layer_replication", null),
        Field("loftq_config", static o => PeftNodes.Object(o.Loftq, InitializationFields.Loftq) ?? [], static (o, v) => o with { Loftq = v.Object(new(), InitializationFields.Loftq) }),
        Field("lora_alpha", static o => PythonJson.Number(o.Alpha), static (o, v) => o with { Alpha = v.Number() }),
        Field("lora_bias", static o => o.LoraBias, static (o, v) => o with { LoraBias = v.Boolean() }),
        Field("lora_ga_config", static o => PeftNodes.Object(o.LoraGa, InitializationFields.LoraGa), static (o, v) => o with { LoraGa = v.Object(new(), InitializationFields.LoraGa) }),
        Only("megatron_config", null),
        Only("megatron_core", "megatron.core"),
        Only("monteclora_config", null),
        Only("qalora_group_size", 16),
        Field("rank_pattern", static o => PeftNodes.Pairs(o.RankPattern, static rank => rank), static (o, v) => o with { RankPattern = v.Pairs(static rank => rank.Whole()) }),
        Field("target_parameters", static o => PeftNodes.Texts(o.TargetParameters), static (o, v) => o with { TargetParameters = v.Texts() }),
        Field("trainable_token_indices", static o => Tokens(o.TrainableTokens), static (o, v) => o with { TrainableTokens = Tokens(v) }),
        Only("use_bdlora", null),
        Field("use_dora", static o => o.UseDora, static (o, v) => o with { UseDora = v.Boolean() }),
        Only("use_qalora", false),
        Field("use_rslora", static o => o.UseRsLora, static (o, v) => o with { UseRsLora = v.Boolean() }),
        Only("velora_config", null),
        Own("doubles_attention_output", static o => o.DoublesAttentionOutput ? true : null, static (o, v) => o with { DoublesAttentionOutput = v.Boolean() }),
        Own("dropout_placement", static o => o.DropoutPlacement == default ? null : Placements.Of(o.DropoutPlacement), static (o, v) => o with { DropoutPlacement = Placements.Read(v) }),
        Own("grouped_update", static o => o.GroupedUpdate == default ? null : GroupedUpdates.Of(o.GroupedUpdate), static (o, v) => o with { GroupedUpdate = GroupedUpdates.Read(v) }),
    ];

    private static PeftField<AdapterOptions> Field(string name, Func<LoraOptions, JsonNode?> write, Func<LoraOptions, PeftValue, LoraOptions> read) =>
        new(name, options => write((LoraOptions)options), (options, value) => read((LoraOptions)options, value));

    private static PeftField<AdapterOptions> Own(string name, Func<LoraOptions, JsonNode?> write, Func<LoraOptions, PeftValue, LoraOptions> read) =>
        PeftField<AdapterOptions>.Own(name, options => write((LoraOptions)options), (options, value) => read((LoraOptions)options, value));

    private static PeftField<AdapterOptions> Only(string name, JsonNode? fallback) => PeftField<AdapterOptions>.Only(name, fallback);

    private static JsonNode Initialization(LoraInitialization value) =>
        value == LoraInitialization.Kaiming ? true : value == LoraInitialization.Random ? false : value.Name;

    private static LoraInitialization Initialization(PeftValue value) => value.Json.ValueKind switch
    {
        JsonValueKind.True => LoraInitialization.Kaiming,
        JsonValueKind.False => LoraInitialization.Random,
        JsonValueKind.String => Named(value.Text()),
        _ => null,
    }
        ?? throw value.Wrong($"true, false, {string.Join(", ", NamedInitializations.Select(static kind => $"\"{kind.Name}\""))} or \"{FastPissa}N\"");

    private static LoraInitialization? Named(string name) =>
        name.StartsWith(FastPissa, StringComparison.Ordinal) && int.TryParse(name.AsSpan(FastPissa.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int iterations)
            ? LoraInitialization.PissaFast(iterations)
            : Array.Find(NamedInitializations, kind => kind.Name.Equals(name, StringComparison.OrdinalIgnoreCase));

    // A list means the model's input embedding, an object the embeddings that it names.
    private static JsonNode? Tokens(IReadOnlyList<TrainableTokens> tokens)
    {
        if (tokens.Count == 0)
        {
            return null;
        }

        if (tokens is [{ Module: null } only])
        {
            return PeftNodes.Wholes(only.Indices);
        }

        return tokens.All(static entry => entry.Module is not null) && tokens.DistinctBy(static entry => entry.Module).Count() == tokens.Count
            ? PeftNodes.Pairs(tokens.Select(static entry => KeyValuePair.Create(entry.Module!, entry.Indices)), PeftNodes.Wholes)
            : throw new ArgumentException(
                $"{nameof(LoraOptions.TrainableTokens)} has several entries, which in PEFT's format need the path of an embedding each, and each another one.", nameof(tokens));
    }

    private static TrainableTokens[] Tokens(PeftValue value) => value.Json.ValueKind switch
    {
        JsonValueKind.Object => [.. value.Pairs(static indices => indices.Wholes()).Select(static entry => new TrainableTokens(entry.Key, entry.Value))],
        _ => value.Wholes() is { Length: > 0 } indices ? [new(null, indices)] : [],
    };
}
