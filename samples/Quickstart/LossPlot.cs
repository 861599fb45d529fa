using ScottPlot;
using ScottPlot.Plottables;

namespace DoraSharp.Samples.Quickstart;

/// <summary>Draws the losses over the steps.</summary>
public static class LossPlot
{
    private const string Font = "DejaVu Sans Latin";
    private const int Width = 900;
    private const int Height = 550;
    private const double Smoothing = 0.1;

    /// <summary>Writes a PNG: held-out loss as a line with marks, training loss, smoothed, as a thin line.</summary>
    /// <exception cref="UserException">The file cannot be written.</exception>
    public static void Write(string path, IEnumerable<MethodResult> results)
    {
        // Machines without fonts are common (containers), so the sample brings one.
        Fonts.AddFontFile(Font, Path.Combine(AppContext.BaseDirectory, "Fonts", "DejaVuSans-Latin.ttf"));
        using Plot plot = new();
        plot.Font.Set(Font);
        Color[] colors = new ScottPlot.Palettes.Category10().Colors;
        foreach ((int index, MethodResult result) in results.Index())
        {
            Add(plot, result, colors[index % colors.Length]);
        }

        plot.Axes.Margins(horizontal: 0);
        plot.Title("Adapting the pretrained model");
        plot.XLabel("step");
        plot.YLabel("loss (nats per token)");
        plot.ShowLegend(Alignment.UpperRight);
        OutputPath.WriteFile("--output", path, plot.GetImageBytes(Width, Height, ImageFormat.Png));
    }

    private static void Add(Plot plot, MethodResult result, Color color)
    {
        double[] steps = [.. Enumerable.Range(1, result.Curve.Training.Count)];
        Scatter training = plot.Add.ScatterLine(steps, Smooth(result.Curve.Training), color.WithAlpha(0.5));
        training.LineWidth = 1;
        training.LegendText = result.Method.Title + ", training batches";
        Scatter heldOut = plot.Add.Scatter(
            result.Curve.HeldOut.Select(point => (double)point.Step).ToArray(), result.Curve.HeldOut.Select(point => point.Loss).ToArray(), color);
        heldOut.LineWidth = 2;
        heldOut.MarkerSize = 7;
        heldOut.LegendText = result.Method.Title + ", held out";
    }

    private static double[] Smooth(IReadOnlyList<double> losses)
    {
        double mean = losses[0];
        return [.. losses.Select(loss => mean += Smoothing * (loss - mean))];
    }
}
