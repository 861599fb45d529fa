using System.Globalization;
using Spectre.Console;

namespace DoraSharp.Benchmarks;

/// <summary>The targets that the measured scenarios speak of.</summary>
internal static class TargetTable
{
    public static Table Of(IReadOnlyList<ScenarioResult> results)
    {
        Table table = new Table().Border(TableBorder.Simple).Title("Targets").AddColumns("target", "scenario");
        table.AddColumn("measured", column => column.RightAligned());
        table.AddColumn("bound", column => column.RightAligned());
        table.AddColumn(string.Empty);
        IEnumerable<TargetOutcome> outcomes = from target in TargetList.All
                                              from result in results
                                              let outcome = target.Judge(result)
                                              where outcome is not null
                                              select outcome;
        foreach (TargetOutcome outcome in outcomes)
        {
            table.AddRow(Markup.Escape(outcome.Target.Name), outcome.Scenario.ToString(), Three(outcome.Figure), Three(outcome.Bound), outcome.IsReached ? "reached" : "[yellow]missed[/]");
        }

        return table;
    }

    private static string Three(double figure) => figure.ToString("f3", CultureInfo.InvariantCulture);
}
