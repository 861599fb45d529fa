using DoraSharp.Testing;
using DoraSharp.Tests.Files;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Docs;

public class ReadmeTests
{
    [Fact]
    public void Example_Run_DoesWhatTheReadmeSays()
    {
        using var scope = NewDisposeScope();
        using TempFolder folder = new();
        manual_seed(61);
        (Tensor before, Tensor trained, Tensor merged) = ReadmeExample.Run(folder.Path);

        Reference.RelativeError(trained, before).Should().BeGreaterThan(0.1);
        Reference.MaxRelativeError(merged, trained).Should().BeLessThan(1e-5);
        Directory.GetFiles(folder.Path).Select(Path.GetFileName).Should().BeEquivalentTo("adapter_config.json", "adapter_model.safetensors");
    }

    [Fact]
    public void Example_Text_StandsInTheReadme()
    {
        string[] source = File.ReadAllLines(RepositoryFolder.File("tests", "DoraSharp.Tests", "Docs", "ReadmeExample.cs"));
        int first = Array.FindIndex(source, line => line.Trim() == "// <readme>") + 1;
        int last = Array.FindIndex(source, line => line.Trim() == "// </readme>");
        IEnumerable<string> example = source[first..last].Select(line => line.Length > 8 ? line[8..] : "");

        File.ReadAllText(RepositoryFolder.File("README.md")).Should().Contain(string.Join('\n', example));
    }
}
