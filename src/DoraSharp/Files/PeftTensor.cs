using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>One tensor of an adapter file.</summary>
/// <param name="ModulePath">The path of the module that it belongs to, without PEFT's <c>base_model.model.</c>.</param>
/// <param name="Part">
/// What it is to the module: <c>lora_A.weight</c> [r, in], <c>lora_B.weight</c> [out, r], <c>lora_magnitude_vector</c> [out] and so on.
/// Empty where the name ends in no part of an adapter; <paramref name="ModulePath"/> is the whole name then.
/// </param>
/// <param name="Value">The tensor.</param>
public sealed record PeftTensor(string ModulePath, string Part, Tensor Value)
{
    private const string Prefix = "base_model.model.";

    private static readonly string[] Parts =
    [
        "lora_A.weight", "lora_B.weight", "lora_B.bias", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector",
    ];

    /// <summary>The name in the model: path and part.</summary>
    public string Name => Part.Length == 0 ? ModulePath : $"{ModulePath}.{Part}";

    /// <summary>The name in PEFT's file: <c>base_model.model.</c> and <see cref="Name"/>.</summary>
    public string FileName => Prefix + Name;

    /// <summary>Takes a name from a file apart, with or without PEFT's prefix.</summary>
    internal static (string ModulePath, string Part) Split(string fileName)
    {
        string name = fileName.StartsWith(Prefix, StringComparison.Ordinal) ? fileName[Prefix.Length..] : fileName;
        foreach (string part in Parts)
        {
            int length = name.Length - part.Length - 1;
            if (length > 0 && name[length] == '.' && name.EndsWith(part, StringComparison.Ordinal))
            {
                return (name[..length], part);
            }
        }

        return (name, "");
    }
}
