namespace DoraSharp.Tests.Docs;

public class ReadmeTests
{
    /// <summary>The program is compiled and run against the packed packages by <c>eng/check-package</c>.</summary>
    [Fact]
    public void Example_InTheReadme_IsTheProgramThatThePackageCheckRuns()
    {
        string readme = File.ReadAllText(RepositoryFolder.File("README.md"));
        int first = readme.IndexOf("```csharp\n", StringComparison.Ordinal) + "```csharp\n".Length;
        string example = readme[first..readme.IndexOf("\n```", first, StringComparison.Ordinal)];

        example.Split('\n').Length.Should().BeInRange(15, 30);
        File.ReadAllText(RepositoryFolder.File("eng", "package-check", "Program.cs")).Should().StartWith(example + "\n");
    }

    [Fact]
    public void Links_InTheReadme_PointToFiles()
    {
        string readme = File.ReadAllText(RepositoryFolder.File("README.md"));
        string[] links = [.. System.Text.RegularExpressions.Regex.Matches(readme, @"\]\(([^)#]+)\)").Select(match => match.Groups[1].Value).Where(link => !link.StartsWith("http", StringComparison.Ordinal))];

        links.Should().NotBeEmpty();
        links.Should().OnlyContain(link => Path.Exists(RepositoryFolder.File(link)));
    }
}
