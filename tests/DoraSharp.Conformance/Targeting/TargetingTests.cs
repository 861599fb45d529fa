using System.Text.Json;

namespace DoraSharp.Conformance;

/// <summary>Which modules PEFT adapts, case by case.</summary>
public class TargetingTests
{
    internal const string Area = "targeting";

    public static IEnumerable<TheoryDataRow<string>> Cases => AreaCases.Rows(Area, static folder => TargetingCase.Names(folder));

    [Theory]
    [MemberData(nameof(Cases))]
    public void Case(string name) => Tally.Run(Area, () => TargetingCheck.Run(TargetingCase.Find(FixtureFolder.Area(Area), name)));

    [Fact]
    public void DefaultTargets_EveryModelType_IsPefts()
    {
        string path = Path.Combine(FixtureFolder.Area(Area), "default_targets.json");
        if (!File.Exists(path))
        {
            Assert.Skip($"'{path}' is missing");
        }

        using JsonDocument file = JsonDocument.Parse(File.ReadAllText(path));
        foreach (JsonProperty entry in file.RootElement.GetProperty("mapping").EnumerateObject())
        {
            DefaultTargets.For(entry.Name).Should().Equal(TargetingConfig.Modules(entry.Value), entry.Name);
            DefaultTargets.For(entry.Name).Pattern.Should().Be(TargetingConfig.Modules(entry.Value)!.Pattern, entry.Name);
        }
    }
}
