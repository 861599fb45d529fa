using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>What bitsandbytes computes and writes, case by case.</summary>
public class BitsandbytesTests
{
    internal const string Area = "bnb";

    public static IEnumerable<TheoryDataRow<string>> Cases => AreaCases.Rows(
        Area,
        static folder => Directory.GetDirectories(folder)
            .Where(static sub => File.Exists(Path.Combine(sub, "case.json")))
            .Select(static sub => Path.GetFileName(sub)!)
            .Order(StringComparer.Ordinal));

    [Theory]
    [MemberData(nameof(Cases))]
    public void Case(string name) => Tally.Run(Area, () =>
    {
        using var scope = NewDisposeScope();
        using BitsandbytesCase subject = new(Path.Combine(FixtureFolder.Area(Area), name));
        BitsandbytesChecks.Run(subject);
    });
}
