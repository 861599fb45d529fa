using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What an <c>adapter_config.json</c> says beside the adapter's options: where it comes from.</summary>
/// <remarks>Metadata that were read remember their file: where they are written again, fields that mean the same keep its form.</remarks>
public sealed record PeftMetadata
{
    /// <summary>The PEFT version whose format is written.</summary>
    public const string FormatVersion = "0.21.2";

    /// <summary>The base model's name on the Hugging Face Hub, or its folder. PEFT: <c>base_model_name_or_path</c>.</summary>
    public string? BaseModelNameOrPath { get; init; }

    /// <summary>The base model's revision on the Hub. PEFT: <c>revision</c>.</summary>
    public string? Revision { get; init; }

    /// <summary>Whether PEFT loads the adapter frozen. PEFT: <c>inference_mode</c>.</summary>
    /// <value><see langword="true"/> by default, as in all files that PEFT saves.</value>
    public bool InferenceMode { get; init; } = true;

    /// <summary>The PEFT version that wrote the file. PEFT: <c>peft_version</c>.</summary>
    /// <value><see cref="FormatVersion"/> by default.</value>
    public string? PeftVersion { get; init; } = FormatVersion;

    /// <summary>The element type in which the adapter's tensors are stored in the file.</summary>
    /// <value><see langword="null"/> by default: that of the file which the adapter was loaded from, or else of its parameters.</value>
    public ScalarType? TensorType { get; init; }

    /// <summary>Fields that are kept as they are: <c>auto_mapping</c>, and those of the file that this library does not know.</summary>
    /// <value>JSON values by field name; empty by default.</value>
    public IReadOnlyDictionary<string, JsonElement> AdditionalFields
    {
        get;
        init => field = value ?? throw new ArgumentNullException(nameof(AdditionalFields));
    } = new Dictionary<string, JsonElement>();

    /// <summary>The file that this was read from.</summary>
    internal PeftSource? Source { get; init; }
}
