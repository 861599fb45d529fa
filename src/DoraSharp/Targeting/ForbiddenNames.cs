using System.Collections.Frozen;

namespace DoraSharp;

/// <summary>Layers of Mamba that fused kernels run on their bare weights: an adapter there would do nothing.</summary>
internal static class ForbiddenNames
{
    private static readonly FrozenSet<string> ModelTypes = FrozenSet.Create(StringComparer.Ordinal, "mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h");
    private static readonly FrozenSet<string> Names = FrozenSet.Create(StringComparer.Ordinal, "out_proj", "conv1d");

    /// <summary>Refuses such a layer.</summary>
    /// <exception cref="TargetingException">It is one.</exception>
    public static void Check(string? modelType, string path)
    {
        if (modelType is not null && ModelTypes.Contains(modelType) && Names.Contains(ModuleNames.Last(path)))
        {
            throw new TargetingException(
                TargetingError.RefusedByName,
                $"{path} is a layer that fused kernels of the model type '{modelType}' run without its adapter; leave it out. Refused there: {string.Join(", ", Names.Order(StringComparer.Ordinal))}.");
        }
    }
}
