using System.Globalization;
using System.Text;

namespace DoraSharp;

/// <summary>What quantizing a model did.</summary>
/// <param name="Sites">The layers that were quantized, in model order.</param>
/// <param name="LeftAlone">The paths of the linear layers that were not.</param>
/// <param name="Untied">Pairs of names whose tensors shared memory until one of them was quantized, such as a head's and an embedding's.</param>
public sealed record QuantizationReport(IReadOnlyList<QuantizedSite> Sites, IReadOnlyList<string> LeftAlone, IReadOnlyList<(string Quantized, string Dense)> Untied)
{
    /// <summary>The memory that the quantized weights take, in bytes.</summary>
    public long Bytes => Sites.Sum(static site => site.Bytes);

    /// <summary>The memory that they took before, in bytes.</summary>
    public long DenseBytes => Sites.Sum(static site => site.DenseBytes);

    /// <summary>‖decoded − W‖/‖W‖ (Frobenius) of all weights together.</summary>
    public double RelativeError
    {
        get
        {
            double norm = Math.Sqrt(Sites.Sum(static site => site.Norm * site.Norm));
            return norm == 0 ? 0 : Math.Sqrt(Sites.Sum(static site => Math.Pow(site.RelativeError * site.Norm, 2))) / norm;
        }
    }

    /// <summary>The memory per quantized parameter, in bits.</summary>
    public double BitsPerParameter => 8.0 * Bytes / Math.Max(Sites.Sum(static site => site.InFeatures * site.OutFeatures), 1);

    /// <summary>A table of the layers, and the sums.</summary>
    public override string ToString()
    {
        StringBuilder text = new();
        foreach (QuantizedSite site in Sites)
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"{site.Path} [{site.OutFeatures}, {site.InFeatures}]: {site.BitsPerParameter:0.000} bits, relative error {site.RelativeError:0.0000}");
        }

        text.Append(CultureInfo.InvariantCulture, $"{Sites.Count} layers: {DenseBytes:n0} bytes became {Bytes:n0}, {BitsPerParameter:0.000} bits per parameter, relative error {RelativeError:0.0000}");
        return LeftAlone.Count == 0 ? text.ToString() : text.Append(CultureInfo.InvariantCulture, $"; left alone: {string.Join(", ", LeftAlone)}").ToString();
    }
}
