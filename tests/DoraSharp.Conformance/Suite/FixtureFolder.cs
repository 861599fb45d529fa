namespace DoraSharp.Conformance;

/// <summary>
/// The folder with the areas of cases: the one that the environment variable <c>DORASHARP_FIXTURES</c> names, or
/// <c>../shared/fixtures</c> beside the repository.
/// </summary>
internal static class FixtureFolder
{
    private const string Variable = "DORASHARP_FIXTURES";

    private static readonly string Shared = Path.GetFullPath(RepositoryFolder.File("..", "shared"));

    private static readonly string? Named = Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } name ? Path.GetFullPath(name) : null;

    /// <summary>The folder's full path, which need not exist.</summary>
    public static string Root { get; } = Named ?? Path.Combine(Shared, "fixtures");

    /// <summary>The folder of an area.</summary>
    public static string Area(string area) => Path.Combine(Root, area);

    /// <summary>The full path of what a case names: <c>shared/...</c> lies beside the repository, all else in the case's own folder.</summary>
    public static string Resolve(string caseFolder, string path) =>
        path.StartsWith("shared/", StringComparison.Ordinal) ? Path.Combine(Shared, path["shared/".Length..]) : Path.Combine(caseFolder, path);

    /// <summary>What stands in the way of the whole suite; <see langword="null"/> where the folder is there.</summary>
    public static string? Missing { get; } = Directory.Exists(Root)
        ? null
        : $"the fixtures' folder '{Root}' is missing; {Variable} names another one";

    /// <summary>Whether a missing folder is an error: where it was asked for by name, and in CI.</summary>
    public static bool IsRequired { get; } = Named is not null || Environment.GetEnvironmentVariable("CI") == "true";
}
