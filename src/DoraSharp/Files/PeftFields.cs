using System.Text.Json.Nodes;

namespace DoraSharp;

/// <summary>The fields of PEFT's <c>LoraConfig</c>, as PEFT 0.21.2 has them in <c>adapter_config.json</c>.</summary>
internal static class PeftFields
{
    public const string AlphaPattern = "alpha_pattern";
    public const string AutoMapping = "auto_mapping";
    public const string BaseModel = "base_model_name_or_path";
    public const string Bias = "bias";
    public const string ExcludeModules = "exclude_modules";
    public const string InferenceMode = "inference_mode";
    public const string Initialization = "init_lora_weights";
    public const string Alpha = "lora_alpha";
    public const string Dropout = "lora_dropout";
    public const string PeftType = "peft_type";
    public const string PeftVersion = "peft_version";
    public const string Rank = "r";
    public const string RankPattern = "rank_pattern";
    public const string Revision = "revision";
    public const string TargetModules = "target_modules";
    public const string TaskType = "task_type";
    public const string UseDora = "use_dora";
    public const string UseRsLora = "use_rslora";

    /// <summary>The fields whose values this library acts on or keeps.</summary>
    public static IReadOnlyList<string> Supported { get; } =
    [
        AlphaPattern, AutoMapping, BaseModel, Bias, ExcludeModules, InferenceMode, Initialization, Alpha, Dropout,
        PeftType, PeftVersion, Rank, RankPattern, Revision, TargetModules, TaskType, UseDora, UseRsLora,
    ];

    /// <summary>The fields that may only have PEFT's default, and that default.</summary>
    public static IReadOnlyDictionary<string, JsonNode?> Unsupported { get; } = new Dictionary<string, JsonNode?>
    {
        ["alora_invocation_tokens"] = null,
        ["arrow_config"] = null,
        ["corda_config"] = null,
        ["ensure_weight_tying"] = false,
        ["eva_config"] = null,
        ["fan_in_fan_out"] = false,
        ["kasa_config"] = null,
        ["layer_replication"] = null,
        ["layers_pattern"] = null,
        ["layers_to_transform"] = null,
        ["loftq_config"] = new JsonObject(),
        ["lora_bias"] = false,
        ["lora_ga_config"] = null,
        ["megatron_config"] = null,
        ["megatron_core"] = "megatron.core",
        ["modules_to_save"] = null,
        ["monteclora_config"] = null,
        ["qalora_group_size"] = 16,
        ["target_parameters"] = null,
        ["trainable_token_indices"] = null,
        ["use_bdlora"] = null,
        ["use_qalora"] = false,
        ["velora_config"] = null,
    };
}
