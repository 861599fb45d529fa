using System.Globalization;
using System.Text;

namespace DoraSharp;

/// <summary>What an injection did.</summary>
/// <param name="Sites">The adapted layers, in model order.</param>
/// <param name="LeftAlone">The paths of the linear layers that were not adapted.</param>
/// <param name="Unmatched">Entries of the options that matched nothing, such as <c>TargetModules: 'q_porj'</c>.</param>
/// <param name="TotalParameterCount">The number of scalars in the model, adapters included.</param>
public sealed record InjectionReport(IReadOnlyList<AdaptedSite> Sites, IReadOnlyList<string> LeftAlone, IReadOnlyList<string> Unmatched, long TotalParameterCount)
{
    /// <summary>What became of the tensors of the adapter's file; <see langword="null"/> for a fresh adapter.</summary>
    public LoadedTensors? File { get; init; }

    /// <summary>What was odd but accepted, one sentence each: in the adapter's files, and options without effect at some layers.</summary>
    public IReadOnlyList<string> Warnings => [.. Cautions, .. File?.Warnings ?? []];

    /// <summary>What the options ask for and does not take effect at some layers.</summary>
    internal IReadOnlyList<string> Cautions { get; init; } = [];

    /// <summary>The number of scalars that train.</summary>
    public long TrainableParameterCount => Sites.Sum(site => site.TrainableParameterCount);

    /// <summary>A line per layer, then the sums.</summary>
    public override string ToString()
    {
        CultureInfo culture = CultureInfo.InvariantCulture;
        StringBuilder text = new();
        foreach (AdaptedSite site in Sites)
        {
            text.AppendLine(culture, $"{site.Path}: {site.InFeatures} -> {site.OutFeatures}, {site.Options.Summary}, {site.Route}");
            foreach (string alias in site.Aliases)
            {
                text.AppendLine(culture, $"  also as {alias}");
            }
        }

        foreach (string path in LeftAlone)
        {
            text.AppendLine(culture, $"left alone: {path}");
        }

        foreach (string entry in Unmatched)
        {
            text.AppendLine(culture, $"matched nothing: {entry}");
        }

        foreach (string warning in Warnings)
        {
            text.AppendLine(culture, $"warning: {warning}");
        }

        double share = TotalParameterCount == 0 ? 0 : 100.0 * TrainableParameterCount / TotalParameterCount;
        text.Append(culture, $"{Sites.Count} layers adapted; {TrainableParameterCount:N0} of {TotalParameterCount:N0} parameters train ({share:0.##} %)");
        return text.ToString();
    }
}
