using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// The tensors that a multi-head attention runs on: a layer's parameters or what adapters make of them. The input
/// projections are one matrix, or three where the widths of queries, keys and values differ.
/// </summary>
internal sealed record AttentionWeights
{
    /// <summary>The projections of queries, keys and values, one below the other, [3E, E]; or null.</summary>
    public Tensor? InProjection { get; init; }

    /// <summary>The projection of queries, [E, E], where there is no <see cref="InProjection"/>.</summary>
    public Tensor? QueryProjection { get; init; }

    /// <summary>The projection of keys, [E, key width], where there is no <see cref="InProjection"/>.</summary>
    public Tensor? KeyProjection { get; init; }

    /// <summary>The projection of values, [E, value width], where there is no <see cref="InProjection"/>.</summary>
    public Tensor? ValueProjection { get; init; }

    /// <summary>The biases of the three projections, [3E], if they have any.</summary>
    public Tensor? InBias { get; init; }

    /// <summary>The learnt key that follows the given ones, [1, 1, E], if there is one.</summary>
    public Tensor? LearntKey { get; init; }

    /// <summary>The learnt value that follows the given ones, [1, 1, E], if there is one.</summary>
    public Tensor? LearntValue { get; init; }

    /// <summary>The projection of the heads' outputs, [E, E].</summary>
    public required Tensor OutProjection { get; init; }

    /// <summary>Its bias, [E], if it has one.</summary>
    public Tensor? OutBias { get; init; }

    /// <summary>A layer's own parameters: the objects that are registered on it, which stay the layer's.</summary>
    /// <remarks>
    /// TorchSharp registers one <see cref="Parameter"/> for each native parameter under libtorch's name, with
    /// <c>out_proj.weight</c> and <c>out_proj.bias</c> on the layer itself, for the output projection is no module in
    /// TorchSharp. Each shares its native tensor with the native layer: in-place changes and <c>load_state_dict</c>
    /// reach both. <c>to(...)</c> gives that native tensor other memory and keeps the objects.
    /// </remarks>
    public static AttentionWeights Of(MultiheadAttention layer)
    {
        ArgumentNullException.ThrowIfNull(layer);
        return new()
        {
            InProjection = layer.get_parameter("in_proj_weight"),
            QueryProjection = layer.get_parameter("q_proj_weight"),
            KeyProjection = layer.get_parameter("k_proj_weight"),
            ValueProjection = layer.get_parameter("v_proj_weight"),
            InBias = layer.get_parameter("in_proj_bias"),
            LearntKey = layer.get_parameter("bias_k"),
            LearntValue = layer.get_parameter("bias_v"),
            OutProjection = layer.get_parameter("out_proj.weight")!,
            OutBias = layer.get_parameter("out_proj.bias"),
        };
    }
}
