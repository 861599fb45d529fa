using DoraSharp.Build;

namespace DoraSharp.Tests.Native;

public class TargetsTests(TargetsProject project) : IClassFixture<TargetsProject>
{
    private const string MacAsset = "any: torch/osx-arm64/native/libLibTorchSharp.dylib is runtimes/osx-arm64/native/libLibTorchSharp.dylib of TorchSharp";
    private const string WindowsAsset = "any: torch/win-x64/native/LibTorchSharp.dll is runtimes/win-x64/native/LibTorchSharp.dll of TorchSharp";
    private const string LinuxAsset = "any: torch/linux-x64/native/libLibTorchSharp.so is runtimes/linux-x64/native/libLibTorchSharp.so of TorchSharp";

    [Theory]
    [InlineData("old-host")]
    [InlineData("unknown-host")]
    [InlineData("always-on-new-host")]
    [InlineData("always-on-other-system")]
    public void ResolvedAssets_WherePatched_NameThePatchedLibraryAlone(string name)
    {
        byte[] expected = [.. TargetsProject.Library];
        WeakenSymbolVersion.Weaken(expected, ElfBuilder.Version).Should().Be(Weakening.Weakened);

        project.Items(name).Should().BeEquivalentTo(
            MacAsset, WindowsAsset, $"any: {TargetsProject.PatchedFile(name)} is runtimes/linux-x64/native/libLibTorchSharp.so of TorchSharp");
        File.ReadAllBytes(project.PathOf(TargetsProject.PatchedFile(name))).Should().Equal(expected);
    }

    [Theory]
    [InlineData("new-host")]
    [InlineData("other-system")]
    [InlineData("never-on-old-host")]
    [InlineData("design-time-on-old-host")]
    public void ResolvedAssets_WhereNotPatched_StayAsTheyAre(string name)
    {
        project.Items(name).Should().BeEquivalentTo(MacAsset, WindowsAsset, LinuxAsset);
        Directory.Exists(project.PathOf($"obj/{name}")).Should().BeFalse();
    }

    [Fact]
    public void ResolvedAssets_ForOneRuntime_ArePatchedOnlyForLinux()
    {
        project.Items("for-linux").Should().Equal(
            $"linux-x64: {TargetsProject.PatchedFile("for-linux")} is runtimes/linux-x64/native/libLibTorchSharp.so of TorchSharp");
        project.Items("for-osx").Should().Equal(MacAsset.Replace("any", "osx-arm64", StringComparison.Ordinal));
        Directory.Exists(project.PathOf("obj/for-osx")).Should().BeFalse();
    }

    [Fact]
    public void Patch_SecondBuild_LeavesThePatchedFile() =>
        File.ReadAllText(project.PathOf(TargetsProject.PatchedFile("again"))).Trim().Should().Be("mark");

    [Fact]
    public void Patch_DamagedLibrary_FailsTheBuildAndWritesNothing()
    {
        project.Output.Should().MatchRegex(@"damaged/linux-x64/native/libLibTorchSharp\.so : error DORASHARP001: .*section headers.*'never'");
        File.Exists(project.PathOf("damaged.txt")).Should().BeFalse();
        Directory.Exists(project.PathOf("obj/damaged")).Should().BeFalse();
    }

    [Fact]
    public void Mode_Unknown_FailsTheBuildWithTheChoices()
    {
        project.Output.Should().MatchRegex("error DORASHARP002: .*'yes'.*auto, always or never");
        File.Exists(project.PathOf("unknown-mode.txt")).Should().BeFalse();
    }

    [Fact]
    public void Package_AfterAllBuilds_IsUntouched() =>
        File.ReadAllBytes(project.PathOf("torch/linux-x64/native/libLibTorchSharp.so")).Should().Equal(TargetsProject.Library);
}
