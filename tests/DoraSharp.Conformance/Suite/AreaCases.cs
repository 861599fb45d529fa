namespace DoraSharp.Conformance;

/// <summary>The cases of an area as rows of a theory: each is one test with the case's name.</summary>
internal static class AreaCases
{
    /// <summary>One row per case, or a single one that says why there are none.</summary>
    /// <param name="area">The area's folder.</param>
    /// <param name="find">The names of the cases in the area's folder.</param>
    public static IEnumerable<TheoryDataRow<string>> Rows(string area, Func<string, IEnumerable<string>> find)
    {
        string folder = FixtureFolder.Area(area);
        if (FixtureFolder.Missing is { } reason)
        {
            // Where the folder is required the row runs, and the case's missing file fails it.
            return [Row(area, "(all cases)", FixtureFolder.IsRequired ? null : reason)];
        }

        if (!Directory.Exists(folder))
        {
            return [Row(area, "(all cases)", $"'{FixtureFolder.Root}' has no area {area}")];
        }

        string[] names = [.. find(folder)];
        return names.Length == 0 ? [Row(area, "(all cases)", $"'{folder}' has no cases")] : names.Select(name => Row(area, name, skip: null));
    }

    private static TheoryDataRow<string> Row(string area, string name, string? skip) =>
        new(name) { TestDisplayName = $"{area}/{name}", Label = "", Skip = skip };
}
