using TorchSharp.Modules;

namespace DoraSharp;

/// <summary>The options of an embedding. TorchSharp passes them to libtorch and cannot read them back.</summary>
/// <param name="PaddingIndex">The row that gets no gradient, if there is one.</param>
/// <param name="MaxNorm">The length that a row is clipped to when it is looked up, if there is one.</param>
/// <param name="NormType">The p of the norm that measures a row's length; 2 where there is no <paramref name="MaxNorm"/>.</param>
/// <param name="ScaleGradByFreq">Whether a row's gradient is divided by how often the row occurs among the ids.</param>
/// <param name="Sparse">Whether the weight's gradient is a sparse tensor.</param>
internal sealed record EmbeddingTraits(long? PaddingIndex, double? MaxNorm, double NormType, bool ScaleGradByFreq, bool Sparse)
{
    /// <summary>Finds a layer's options by what it does with weights made for the purpose.</summary>
    /// <remarks>
    /// The layer's own weight is not read or written, no random number is drawn, and the temporary memory is a few
    /// numbers per row, whatever the row's width. Works in any grad mode, for a weight of any dtype and device.
    /// </remarks>
    /// <exception cref="NotSupportedException">The layer combines options that libtorch or this library cannot run.</exception>
    public static EmbeddingTraits Of(Embedding layer) => new EmbeddingProbe(layer).Traits();
}
