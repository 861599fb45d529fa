namespace DoraSharp;

/// <summary>The kinds of layers that adapters can be put on.</summary>
public enum LayerKind
{
    /// <summary>None: the module cannot be adapted.</summary>
    None,

    /// <summary>A linear layer, weight [out, in].</summary>
    Linear,

    /// <summary>A linear layer whose weight is stored [in, out]: GPT-2's <c>Conv1D</c>.</summary>
    TransposedLinear,

    /// <summary>An embedding, weight [rows, dimension].</summary>
    Embedding,

    /// <summary>A convolution over one dimension, weight [out, in/groups, k].</summary>
    Conv1d,

    /// <summary>A convolution over two dimensions, weight [out, in/groups, k, k].</summary>
    Conv2d,

    /// <summary>A convolution over three dimensions, weight [out, in/groups, k, k, k].</summary>
    Conv3d,

    /// <summary>Attention with several heads: its input projections, which it holds itself.</summary>
    MultiheadAttention,

    /// <summary>A parameter by itself: a matrix [out, in], or one per expert [experts, out, in].</summary>
    Parameter,
}
