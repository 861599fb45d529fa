using System.Collections.Concurrent;
using System.Globalization;
using System.Reflection;

[assembly: AssemblyFixture(typeof(DoraSharp.Conformance.Tally))]
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace DoraSharp.Conformance;

/// <summary>Counts the cases of each area, and writes the suite's last line when all have run.</summary>
public sealed class Tally : IDisposable
{
    private static readonly ConcurrentDictionary<string, (int Passed, int Ran)> Counts = new(StringComparer.Ordinal);

    /// <summary>Runs a case; it counts as passed where it throws nothing.</summary>
    /// <param name="area">The area that it belongs to.</param>
    /// <param name="check">The case.</param>
    public static void Run(string area, Action check)
    {
        ArgumentNullException.ThrowIfNull(check);
        Counts.AddOrUpdate(area, (0, 1), static (_, count) => (count.Passed, count.Ran + 1));
        if (FixtureFolder.Missing is { } reason)
        {
            Assert.Fail(reason);
        }

        check();
        Counts.AddOrUpdate(area, (1, 1), static (_, count) => (count.Passed + 1, count.Ran));
    }

    /// <summary>Writes the line to the file that the build prints it from.</summary>
    public void Dispose()
    {
        string file = typeof(Tally).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(attribute => attribute.Key == "SummaryFile").Value!;
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, Line() + Environment.NewLine);
    }

    private static string Line()
    {
        IEnumerable<string> areas = Counts.OrderBy(area => area.Key, StringComparer.Ordinal)
            .Select(area => string.Create(CultureInfo.InvariantCulture, $"{area.Key} {area.Value.Passed} of {area.Value.Ran}"))
            .Concat(UnreadAreas.Names.Select(name => $"{name} not read"));
        return "Cases passed: " + string.Join(", ", areas);
    }
}
