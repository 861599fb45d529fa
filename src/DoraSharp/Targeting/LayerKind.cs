namespace DoraSharp;

/// <summary>The kinds of layers that can be adapted, by the names that PEFT's users know.</summary>
public enum LayerKind
{
    /// <summary>None of them.</summary>
    None,

    /// <summary>A linear layer, weight [out, in].</summary>
    Linear,

    /// <summary>GPT-2's linear layer with a transposed weight [in, out]: <see cref="TransposedLinear"/>, transformers' <c>Conv1D</c>.</summary>
    TransposedLinear,

    /// <summary>An embedding, weight [rows, dimension].</summary>
    Embedding,

    /// <summary>A convolution over one dimension.</summary>
    Conv1d,

    /// <summary>A convolution over two dimensions.</summary>
    Conv2d,

    /// <summary>A convolution over three dimensions.</summary>
    Conv3d,

    /// <summary>Multi-head attention: its input and output projections.</summary>
    MultiheadAttention,

    /// <summary>A bare parameter of a module: mixture-of-experts weights.</summary>
    Parameter,
}
