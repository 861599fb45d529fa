using System.Globalization;

namespace DoraSharp.Benchmarks;

/// <summary>The targets beside what was measured.</summary>
internal static class TargetTable
{
    public static ReportTable Of(IReadOnlyList<TargetOutcome> outcomes)
    {
        int reached = outcomes.Count(outcome => outcome.IsReached);
        ReportTable table = new("Targets", ["target", "setting", string.Empty, "measured", "bound"], TextColumns: 3)
        {
            Caption = string.Create(CultureInfo.InvariantCulture, $"{reached} of {outcomes.Count} are reached."),
        };
        foreach (TargetOutcome outcome in outcomes)
        {
            table.Add(outcome.Target, outcome.Setting, outcome.IsReached ? "reached" : "MISSED", Figures.Three(outcome.Figure), (outcome.IsMinimum ? "≥ " : "≤ ") + Figures.Three(outcome.Bound));
        }

        return table;
    }
}
