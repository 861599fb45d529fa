using System.Globalization;
using System.Text;

namespace DoraSharp;

/// <summary>What the conversion of an adapter gave, weight by weight.</summary>
/// <param name="Layers">The weights, in model order.</param>
public sealed record ConversionReport(IReadOnlyList<ConvertedLayer> Layers)
{
    /// <summary>The largest of the errors relative to the weights.</summary>
    public double LargestError => Layers.Count == 0 ? 0 : Layers.Max(layer => layer.RelativeError);

    /// <summary>The parameters and buffers in which a fully trained model differs beyond what the adapter covers, for <see cref="AdaptedModel.FitTo"/>.</summary>
    public IReadOnlyList<string> Uncovered { get; init; } = [];

    /// <summary>A line per weight.</summary>
    public override string ToString()
    {
        StringBuilder text = new();
        foreach (ConvertedLayer layer in Layers)
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"{layer.Path}: rank {layer.Rank}, error {layer.RelativeError:0.0e+0} of the weight, {layer.RelativeErrorOfChange:0.0e+0} of its change");
        }

        foreach (string name in Uncovered)
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"not covered: {name}");
        }

        return text.ToString();
    }
}
