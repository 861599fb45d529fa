using System.Text.Json;

namespace DoraSharp.Conformance;

/// <summary>Reads a case's configuration; a field that it does not know fails the case.</summary>
internal static class TargetingConfig
{
    public static LoraOptions Read(JsonElement config)
    {
        // A missing field has PEFT's default, which for the targets is not this library's.
        LoraOptions options = new() { TargetModules = TargetModules.ModelDefault };
        foreach (JsonProperty field in config.EnumerateObject().Where(static field => field.Value.ValueKind != JsonValueKind.Null))
        {
            options = With(options, field.Name, field.Value);
        }

        return options;
    }

    public static TargetModules? Modules(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Null => null,
        JsonValueKind.String => TargetModules.FromPattern(value.GetString()!),
        _ => TargetModules.Create(Texts(value)),
    };

    private static LoraOptions With(LoraOptions options, string name, JsonElement value) => name switch
    {
        "peft_type" => options,
        "r" => options with { Rank = value.GetInt32() },
        "lora_alpha" => options with { Alpha = value.GetDouble() },
        "lora_dropout" => options with { Dropout = value.GetDouble() },
        "lora_bias" => options with { LoraBias = value.GetBoolean() },
        "bias" => options with { Bias = Enum.Parse<BiasTraining>(value.GetString()!.Replace("_", "", StringComparison.Ordinal), ignoreCase: true) },
        "use_rslora" => options with { UseRsLora = value.GetBoolean() },
        "use_dora" => options with { UseDora = value.GetBoolean() },
        "fan_in_fan_out" => options with { FanInFanOut = value.GetBoolean() },
        "ensure_weight_tying" => options with { EnsureWeightTying = value.GetBoolean() },
        "task_type" => options with { TaskType = value.GetString() },
        "target_modules" => options with { TargetModules = Modules(value)! },
        "exclude_modules" => options with { ExcludeModules = Modules(value) is { } modules && modules != TargetModules.None ? modules : null },
        "target_parameters" => options with { TargetParameters = Texts(value) },
        "modules_to_save" => options with { ModulesToSave = Texts(value) },
        "layers_to_transform" => options with { LayersToTransform = [.. OneOrMore(value).Select(static index => index.GetInt32())] },
        "layers_pattern" => options with { LayersPattern = [.. OneOrMore(value).Select(static text => text.GetString()!).Where(static text => text.Length > 0)] },
        "rank_pattern" => options with { RankPattern = [.. value.EnumerateObject().Select(static key => KeyValuePair.Create(key.Name, key.Value.GetInt32()))] },
        "alpha_pattern" => options with { AlphaPattern = [.. value.EnumerateObject().Select(static key => KeyValuePair.Create(key.Name, key.Value.GetDouble()))] },
        "trainable_token_indices" => options with
        {
            TrainableTokens = value.ValueKind == JsonValueKind.Array
                ? [new(null, Indices(value))]
                : [.. value.EnumerateObject().Select(static module => new TrainableTokens(module.Name, Indices(module.Value)))],
        },
        _ => throw new NotSupportedException($"The configuration has the field {name}, which this area does not read."),
    };

    private static JsonElement[] OneOrMore(JsonElement value) => value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray()] : [value];

    private static int[] Indices(JsonElement value) => [.. value.EnumerateArray().Select(static index => index.GetInt32())];

    private static string[] Texts(JsonElement value) => [.. value.EnumerateArray().Select(static text => text.GetString()!)];
}
