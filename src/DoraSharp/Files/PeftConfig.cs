using System.Text.Json;
using System.Text.Json.Nodes;

namespace DoraSharp;

/// <summary>The content of an <c>adapter_config.json</c>.</summary>
/// <param name="Options">The adapter's options.</param>
/// <param name="NamesTargets">Whether the file says which modules are adapted; if not, the options' are meaningless.</param>
/// <param name="Metadata">What the file says besides.</param>
/// <param name="UnknownFields">The names of the fields that this library does not know.</param>
internal sealed record PeftConfig(LoraOptions Options, bool NamesTargets, PeftMetadata Metadata, IReadOnlyList<string> UnknownFields)
{
    public const string Gaussian = "gaussian";

    /// <summary>The file's text, as PEFT writes it: all fields, sorted by name.</summary>
    /// <remarks>PEFT sorts patterns too, although their order decides which one counts; here they keep it.</remarks>
    /// <exception cref="ArgumentException">An additional field has the name of one that the options or the metadata set.</exception>
    public static byte[] Serialize(LoraOptions options, PeftMetadata metadata)
    {
        SortedDictionary<string, JsonNode?> fields = new(StringComparer.Ordinal)
        {
            [PeftFields.AlphaPattern] = Patterns(options.AlphaPattern, PythonJson.Number),
            [PeftFields.AutoMapping] = null,
            [PeftFields.BaseModel] = metadata.BaseModelNameOrPath,
            [PeftFields.Bias] = "none",
            [PeftFields.ExcludeModules] = Modules(options.ExcludeModules),
            [PeftFields.InferenceMode] = metadata.InferenceMode,
            [PeftFields.Initialization] = Initialization(options.Initialization),
            [PeftFields.Alpha] = PythonJson.Number(options.Alpha),
            [PeftFields.Dropout] = PythonJson.Float(options.Dropout),
            [PeftFields.PeftType] = "LORA",
            [PeftFields.PeftVersion] = metadata.PeftVersion,
            [PeftFields.Rank] = options.Rank,
            [PeftFields.RankPattern] = Patterns(options.RankPattern, static rank => rank),
            [PeftFields.Revision] = metadata.Revision,
            [PeftFields.TargetModules] = Modules(options.TargetModules),
            [PeftFields.TaskType] = metadata.TaskType,
            [PeftFields.UseDora] = options.UseDora,
            [PeftFields.UseRsLora] = options.UseRsLora,
        };
        foreach ((string name, JsonNode? fallback) in PeftFields.Unsupported)
        {
            fields.Add(name, fallback?.DeepClone());
        }

        foreach ((string name, JsonElement value) in metadata.AdditionalFields)
        {
            if (name != PeftFields.AutoMapping && fields.ContainsKey(name))
            {
                throw new ArgumentException($"{nameof(PeftMetadata.AdditionalFields)} has '{name}', which the options or the metadata set.", nameof(metadata));
            }

            fields[name] = PythonJson.Raw(value.GetRawText());
        }

        return PythonJson.Serialize(new JsonObject(fields));
    }

    private static JsonNode? Modules(TargetModules? modules) => modules switch
    {
        null => null,
        { Pattern: { } pattern } => pattern,
        _ => new JsonArray([.. modules.Names.Select(static name => JsonValue.Create(name))]),
    };

    private static JsonObject Patterns<T>(IReadOnlyList<KeyValuePair<string, T>> patterns, Func<T, JsonNode> write)
    {
        JsonObject result = [];
        foreach ((string pattern, T value) in patterns)
        {
            // Of equal patterns the first one counts.
            result.TryAdd(pattern, write(value));
        }

        return result;
    }

    private static JsonNode Initialization(LoraInitialization value) =>
        value == LoraInitialization.Kaiming ? true : value == LoraInitialization.Random ? false : value.Name;
}
