namespace DoraSharp.Conformance;

/// <summary>The areas of the fixtures' folder that the suite has no reader for: each is skipped by name.</summary>
internal static class UnreadAreas
{
    private static readonly string[] Read = [BitsandbytesTests.Area, PeftTests.Area, TargetingTests.Area];

    /// <summary>The areas' names.</summary>
    public static IReadOnlyList<string> Names { get; } = Directory.Exists(FixtureFolder.Root)
        ? [.. Directory.GetDirectories(FixtureFolder.Root).Select(folder => Path.GetFileName(folder)!).Except(Read).Order(StringComparer.Ordinal)]
        : [];
}
