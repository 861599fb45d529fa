namespace DoraSharp;

/// <summary>A layer that was quantized.</summary>
/// <param name="Path">Its path in the model.</param>
/// <param name="Aliases">Further paths of the same layer.</param>
/// <param name="InFeatures">The number of input features; the width of an embedding.</param>
/// <param name="OutFeatures">The number of output features; the rows of an embedding.</param>
/// <param name="Bytes">The memory that codes and scales take.</param>
/// <param name="DenseBytes">The memory that the dense weight took.</param>
/// <param name="Norm">‖W‖ (Frobenius).</param>
/// <param name="RelativeError">‖decoded − W‖/‖W‖.</param>
/// <param name="MaxError">The largest |decoded − W| of an element.</param>
public sealed record QuantizedSite(
    string Path, IReadOnlyList<string> Aliases, long InFeatures, long OutFeatures, long Bytes, long DenseBytes, double Norm, double RelativeError, double MaxError)
{
    /// <summary>The memory per parameter, in bits.</summary>
    public double BitsPerParameter => 8.0 * Bytes / (InFeatures * OutFeatures);
}
