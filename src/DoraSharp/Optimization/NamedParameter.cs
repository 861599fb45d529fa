using TorchSharp.Modules;

namespace DoraSharp;

/// <summary>A parameter that trains.</summary>
/// <param name="Name">Its name in an adapter's file, without PEFT's prefix: <c>fc1.lora_B.weight</c>.</param>
/// <param name="Parameter">The parameter.</param>
/// <param name="FileRank">The number of its dimensions in the file: a convolution's magnitude is [1, out, 1, 1] there.</param>
/// <param name="IsNormalisation">Whether it belongs to a normalisation layer that is trained whole.</param>
internal sealed record NamedParameter(string Name, Parameter Parameter, int FileRank, bool IsNormalisation = false)
{
    public bool IsMagnitude => Part is "lora_magnitude_vector";

    public bool IsFactorOfEmbedding => Part is "lora_embedding_A" or "lora_embedding_B";

    private string Part => Name[(Name.LastIndexOf('.') + 1)..];
}
