namespace DoraSharp;

/// <summary>The fields of a configuration that say nothing of the adapter itself.</summary>
internal static class MetadataFields
{
    /// <summary>The base model's class, which is kept as it is: only Python can make use of it.</summary>
    public const string AutoMapping = "auto_mapping";

    public static IReadOnlyList<PeftField<PeftMetadata>> All { get; } =
    [
        new("base_model_name_or_path", static m => m.BaseModelNameOrPath, static (m, v) => m with { BaseModelNameOrPath = v.OptionalText() }),
        new("inference_mode", static m => m.InferenceMode, static (m, v) => m with { InferenceMode = v.Boolean() }),
        new("peft_version", static m => m.PeftVersion, static (m, v) => m with { PeftVersion = v.OptionalText() }),
        new("revision", static m => m.Revision, static (m, v) => m with { Revision = v.OptionalText() }),
    ];
}
