namespace DoraSharp.Conformance;

/// <summary>Shows what the suite leaves out.</summary>
public class UnreadAreasTests
{
    public static IEnumerable<TheoryDataRow<string>> Areas => UnreadAreas.Names.Select(name => new TheoryDataRow<string>(name)
    {
        TestDisplayName = name,
        Label = "",
        Skip = $"{name}: not read by this suite yet",
    });

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Areas))]
    public void Area(string name) => Assert.Fail($"{name} has no reader.");
}
