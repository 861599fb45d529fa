using System.Text.RegularExpressions;

namespace DoraSharp.Tests.Docs;

public partial class ReadmeTests
{
    /// <summary>The program is compiled and run against the packed packages by <c>eng/check-package</c>.</summary>
    [Theory]
    [InlineData("README.md")]
    [InlineData("src/DoraSharp/README.md")]
    public void FirstExample_InAReadme_IsTheProgramThatThePackageCheckRuns(string readme)
    {
        string example = Examples(readme)[0];

        example.Split('\n').Length.Should().BeInRange(15, 30);
        File.ReadAllText(RepositoryFolder.File("eng", "package-check", "Program.cs")).Should().StartWith(example + "\n");
    }

    [Theory]
    [InlineData("README.md", 7)]
    [InlineData("src/DoraSharp/README.md", 0)]
    public void FurtherExamples_InAReadme_AreTestsThatRun(string readme, int count)
    {
        string tests = File.ReadAllText(RepositoryFolder.File("tests", "DoraSharp.Tests", "Docs", "ReadmeExamples.cs"));
        string[] further = [.. Examples(readme).Skip(1)];

        further.Should().HaveCount(count);
        further.Where(example => !tests.Contains("\n" + Indented(example) + "\n", StringComparison.Ordinal)).Should().BeEmpty();
    }

    [Theory]
    [InlineData("README.md")]
    [InlineData("docs/architecture.md")]
    [InlineData("docs/methods.md")]
    [InlineData("docs/precision.md")]
    [InlineData("docs/peft-compatibility.md")]
    [InlineData("docs/quantization.md")]
    public void Links_InADocument_PointToFiles(string document)
    {
        string folder = Path.GetDirectoryName(RepositoryFolder.File(document))!;
        string[] links = [.. Link().Matches(File.ReadAllText(RepositoryFolder.File(document))).Select(match => match.Groups[1].Value).Where(link => !link.StartsWith("http", StringComparison.Ordinal))];

        links.Where(link => !Path.Exists(Path.Combine(folder, link))).Should().BeEmpty();
    }

    private static string[] Examples(string readme) =>
        [.. Example().Matches(File.ReadAllText(RepositoryFolder.File(readme))).Select(match => match.Groups[1].Value)];

    private static string Indented(string example) =>
        string.Join('\n', example.Split('\n').Select(line => line.Length == 0 ? line : "        " + line));

    [GeneratedRegex("```csharp\n(.*?)\n```", RegexOptions.Singleline)]
    private static partial Regex Example();

    [GeneratedRegex(@"\]\(([^)#]+)\)")]
    private static partial Regex Link();
}
