using System.Collections;
using DoraSharp.Build;
using Microsoft.Build.Framework;

namespace DoraSharp.Tests.Native;

public sealed class WeakenSymbolVersionTaskTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("dorasharp-").FullName;
    private readonly BuildLog _log = new();

    private string Source => Path.Combine(_folder, "source.so");

    private string Destination => Path.Combine(_folder, "obj", "new", "copy.so");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Execute_LibraryThatAsksForTheVersion_WritesAWeakenedCopy()
    {
        byte[] original = new ElfBuilder().Build().Bytes;
        byte[] expected = [.. original];
        WeakenSymbolVersion.Weaken(expected, ElfBuilder.Version);
        File.WriteAllBytes(Source, original);

        Run().Should().BeTrue();

        File.ReadAllBytes(Source).Should().Equal(original);
        File.ReadAllBytes(Destination).Should().Equal(expected);
        Directory.GetFiles(Path.GetDirectoryName(Destination)!).Should().Equal(Destination);
        _log.Errors.Should().BeEmpty();
        _log.Messages.Should().ContainSingle().Which.Should().Contain("Weakened");
    }

    [Fact]
    public void Execute_LibraryThatAsksForNothing_WritesAnIdenticalCopy()
    {
        byte[] original = new ElfBuilder { Needed = [("libc.so.6", ["GLIBC_2.34"])], Symbols = [], Relocated = [], RelocatedWithoutAddend = [] }.Build().Bytes;
        File.WriteAllBytes(Source, original);

        Run().Should().BeTrue();

        File.ReadAllBytes(Destination).Should().Equal(original);
    }

    [Fact]
    public void Execute_EarlierCopy_IsReplaced()
    {
        File.WriteAllBytes(Source, new ElfBuilder().Build().Bytes);
        Directory.CreateDirectory(Path.GetDirectoryName(Destination)!);
        File.WriteAllText(Destination, "earlier");

        Run().Should().BeTrue();

        File.ReadAllBytes(Destination).Should().HaveSameCount(File.ReadAllBytes(Source));
        Directory.GetFiles(Path.GetDirectoryName(Destination)!).Should().Equal(Destination);
    }

    [Fact]
    public void Execute_DamagedLibrary_FailsWithACodeAndLeavesTheEarlierCopy()
    {
        File.WriteAllBytes(Source, new ElfBuilder().Build().Bytes[..^1]);
        Directory.CreateDirectory(Path.GetDirectoryName(Destination)!);
        File.WriteAllText(Destination, "earlier");

        Run().Should().BeFalse();

        BuildErrorEventArgs error = _log.Errors.Should().ContainSingle().Which;
        error.Code.Should().Be("DORASHARP001");
        error.File.Should().Be(Source);
        error.Message.Should().Contain("section headers").And.Contain("DoraSharpPatchLibTorchSharp");
        File.ReadAllText(Destination).Should().Be("earlier");
    }

    [Fact]
    public void Execute_MissingLibrary_FailsAndWritesNothing()
    {
        Run().Should().BeFalse();

        _log.Errors.Should().ContainSingle().Which.Message.Should().Contain(Source);
        File.Exists(Destination).Should().BeFalse();
    }

    private bool Run() =>
        new WeakenSymbolVersion { BuildEngine = _log, Source = Source, Destination = Destination, SymbolVersion = ElfBuilder.Version }.Execute();

    private sealed class BuildLog : IBuildEngine
    {
        public List<BuildErrorEventArgs> Errors { get; } = [];

        public List<string?> Messages { get; } = [];

        public bool ContinueOnError => false;

        public int LineNumberOfTaskNode => 0;

        public int ColumnNumberOfTaskNode => 0;

        public string ProjectFileOfTaskNode => "";

        public void LogErrorEvent(BuildErrorEventArgs e) => Errors.Add(e);

        public void LogMessageEvent(BuildMessageEventArgs e) => Messages.Add(e.Message);

        public void LogWarningEvent(BuildWarningEventArgs e) => throw new NotSupportedException(e.Message);

        public void LogCustomEvent(CustomBuildEventArgs e) => throw new NotSupportedException(e.Message);

        public bool BuildProjectFile(string projectFileName, string[] targetNames, IDictionary globalProperties, IDictionary targetOutputs) =>
            throw new NotSupportedException(projectFileName);
    }
}
