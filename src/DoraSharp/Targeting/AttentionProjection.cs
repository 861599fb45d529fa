namespace DoraSharp;

/// <summary>A weight of a multi-head attention that has adapters of its own.</summary>
/// <param name="Name">Its name behind the attention's path.</param>
/// <param name="Weight">The parameter's name in TorchSharp's attention.</param>
/// <param name="DiskSuffix">What follows the attention's path in the names of PEFT's file.</param>
internal sealed record AttentionProjection(string Name, string Weight, string DiskSuffix)
{
    /// <summary>Queries, keys and values by one matrix [3E, E]: PEFT wraps the attention, and its output projection inside.</summary>
    public static IReadOnlyList<AttentionProjection> Fused { get; } =
    [
        new("in_proj", "in_proj_weight", ""),
        new("out_proj", "out_proj.weight", ".base_layer.out_proj"),
    ];

    /// <summary>Where the widths of queries, keys and values differ, which PEFT refuses: a matrix for each.</summary>
    public static IReadOnlyList<AttentionProjection> Separate { get; } =
    [
        new("q_proj", "q_proj_weight", ".q_proj"),
        new("k_proj", "k_proj_weight", ".k_proj"),
        new("v_proj", "v_proj_weight", ".v_proj"),
        new("out_proj", "out_proj.weight", ".out_proj"),
    ];

    /// <summary>Whether it is the projection of the heads' outputs.</summary>
    public bool IsOutput => Name == "out_proj";
}
