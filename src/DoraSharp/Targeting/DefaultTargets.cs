using System.Collections.Frozen;

namespace DoraSharp;

/// <summary>What PEFT 0.21 adapts where the options name no modules, by the model's type.</summary>
internal static class DefaultTargets
{
    private static readonly FrozenDictionary<string, TargetModules> ByModelType = new (TargetModules Targets, string[] ModelTypes)[]
    {
        (["q", "v"], ["t5", "mt5"]),
        (["q", "v", "q_proj", "v_proj"], ["blip-2"]),
        (
            ["q_proj", "v_proj"],
            [
                "bart", "opt", "gptj", "gpt_neo", "llama", "llama4", "mistral", "mixtral", "stablelm",
                "gemma", "gemma2", "gemma3_text", "qwen2", "qwen3",
            ]
        ),
        (["q_proj", "v_proj", "fc1", "fc2"], ["phi"]),
        (["q_proj", "k_proj", "v_proj", "o_proj"], ["nemotron_h"]),
        (["query", "value"], ["bert", "roberta", "xlm-roberta", "electra", "layoutlm"]),
        (["query_proj", "value_proj"], ["deberta-v2"]),
        (["in_proj"], ["deberta"]),
        (["query_key_value"], ["bloom", "gpt_neox", "chatglm", "RefinedWebModel", "RefinedWeb", "falcon"]),
        (["c_attn"], ["gpt2", "gpt_bigcode"]),
        (["c_proj", "c_attn"], ["btlm"]),
        (["Wqkv"], ["mpt"]),
        (["qkv_proj"], ["codegen"]),
        (["key", "value", "receptance", "output"], ["rwkv"]),
        (["r_proj", "k_proj", "v_proj", "o_proj", "key", "value"], ["rwkv7"]),
        (@".*language_model\..*\.(q_proj|v_proj)", ["gemma4"]),
    }.SelectMany(static row => row.ModelTypes, static (row, modelType) => KeyValuePair.Create(modelType, row.Targets))
     .ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>Whether a model's type has a default.</summary>
    public static bool Has(string? modelType) => modelType is not null && ByModelType.ContainsKey(modelType);

    /// <summary>The default of a model's type.</summary>
    /// <exception cref="TargetingException">There is none.</exception>
    public static TargetModules For(string? modelType)
    {
        if (modelType is not null && ByModelType.TryGetValue(modelType, out TargetModules? targets))
        {
            return targets;
        }

        throw new TargetingException(
            TargetingError.NoDefaultTargets,
            (modelType is null
                ? $"TargetModules is the model type's default, but the type is not known: set {nameof(InjectionOptions)}.{nameof(InjectionOptions.ModelType)}, or name the modules"
                : $"TargetModules is the default of the model type '{modelType}', which has none: name the modules") +
            $". Types with a default: {string.Join(", ", ByModelType.Keys.Order(StringComparer.Ordinal))}.");
    }
}
