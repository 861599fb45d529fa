using System.Globalization;

namespace DoraSharp;

/// <summary>What merging did to each layer.</summary>
/// <param name="Layers">The layers in the order in which they were adapted.</param>
public sealed record MergeReport(IReadOnlyList<MergedLayer> Layers)
{
    /// <summary>The largest relative error of a layer; 0 where there is none.</summary>
    public double LargestRelativeError => Layers.Select(static layer => layer.RelativeError).DefaultIfEmpty(0).Max();

    /// <summary>One line per layer.</summary>
    public override string ToString() => string.Join(Environment.NewLine, Layers.Select(static layer => string.Create(
        CultureInfo.InvariantCulture, $"{layer.Path}: {(layer.IsQuantized ? "quantized" : "dense")}, relative error {layer.RelativeError:0.0e+0}, largest {layer.MaxError:0.0e+0}")));
}
