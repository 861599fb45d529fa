using System.Diagnostics;

namespace DoraSharp.Tests.Native;

/// <summary>
/// Runs the package's targets in MSBuild on a project that only resolves package assets, once for each set of properties.
/// </summary>
public sealed class TargetsProject : IDisposable
{
    private static readonly Dictionary<string, string> Cases = new()
    {
        ["old-host"] = "_DoraSharpHostIsLinux=True;DoraSharpHostLibStdCxx=old-libstdc++.so.6",
        ["new-host"] = "_DoraSharpHostIsLinux=True;DoraSharpHostLibStdCxx=new-libstdc++.so.6",
        ["unknown-host"] = "_DoraSharpHostIsLinux=True;DoraSharpHostLibStdCxx=missing-libstdc++.so.6",
        ["other-system"] = "DoraSharpHostLibStdCxx=old-libstdc++.so.6;_DoraSharpHostIsLinux=False",
        ["always-on-other-system"] = "DoraSharpPatchLibTorchSharp=always;_DoraSharpHostIsLinux=False",
        ["always-on-new-host"] = "_DoraSharpHostIsLinux=True;DoraSharpHostLibStdCxx=new-libstdc++.so.6;DoraSharpPatchLibTorchSharp=always",
        ["never-on-old-host"] = "_DoraSharpHostIsLinux=True;DoraSharpHostLibStdCxx=old-libstdc++.so.6;DoraSharpPatchLibTorchSharp=never",
        ["design-time-on-old-host"] = "_DoraSharpHostIsLinux=True;DoraSharpHostLibStdCxx=old-libstdc++.so.6;DesignTimeBuild=true",
        ["for-linux"] = "DoraSharpPatchLibTorchSharp=always;RuntimeIdentifier=linux-x64",
        ["for-osx"] = "DoraSharpPatchLibTorchSharp=always;RuntimeIdentifier=osx-arm64",
        ["damaged"] = "DoraSharpPatchLibTorchSharp=always;Package=damaged",
        ["unknown-mode"] = "DoraSharpPatchLibTorchSharp=yes",
        ["again"] = "DoraSharpPatchLibTorchSharp=always",
    };

    private readonly string _folder = Directory.CreateTempSubdirectory("dorasharp-").FullName;

    public TargetsProject()
    {
        Write("torch/linux-x64/native/libLibTorchSharp.so", Library);
        Write("damaged/linux-x64/native/libLibTorchSharp.so", Library.AsSpan(0, Library.Length - 1));
        Write("old-libstdc++.so.6", "\0GLIBCXX_3.4.29\0GLIBCXX_3.4.30\0"u8);
        Write("new-libstdc++.so.6", "\0GLIBCXX_3.4.31\0GLIBCXX_3.4.32\0GLIBCXX_3.4.33\0"u8);
        File.WriteAllText(PathOf("case.proj"), CaseProject);
        File.WriteAllText(PathOf("all.proj"), AllCases);
        Output = Run("dotnet", "msbuild", PathOf("all.proj"), "-nologo", "-maxCpuCount:1", "-nodeReuse:false");
    }

    /// <summary>The Linux library in the package: it asks for the version and does not use it.</summary>
    public static byte[] Library { get; } = new ElfBuilder().Build().Bytes;

    /// <summary>What MSBuild printed.</summary>
    public string Output { get; }

    /// <summary>The items of the .NET SDK: with a RuntimeIdentifier its native files, else the native files of every system.</summary>
    private static string CaseProject => $"""
        <Project>
          <PropertyGroup>
            <Package Condition="'$(Package)' == ''">torch</Package>
            <IntermediateOutputPath>obj/$(Case)/</IntermediateOutputPath>
          </PropertyGroup>
          <Target Name="ResolvePackageAssets">
            <ItemGroup>
              <Asset Include="linux-x64/native/libLibTorchSharp.so" Rid="linux-x64" />
              <Asset Include="osx-arm64/native/libLibTorchSharp.dylib" Rid="osx-arm64" />
              <Asset Include="win-x64/native/LibTorchSharp.dll" Rid="win-x64" />
              <Item Include="@(Asset->'$(Package)/%(Identity)')" PathInPackage="runtimes/%(Asset.Identity)" NuGetPackageId="TorchSharp" NuGetPackageVersion="1.2.3" />
              <RuntimeTargetsCopyLocalItems Include="@(Item)" Condition="'$(RuntimeIdentifier)' == ''" />
              <NativeCopyLocalItems Include="@(Item)" Condition="'%(Rid)' == '$(RuntimeIdentifier)'" />
            </ItemGroup>
          </Target>
          <Import Project="{Path.Combine(AppContext.BaseDirectory, "buildTransitive", "DoraSharp.targets")}" />
          <Target Name="Report" DependsOnTargets="ResolvePackageAssets">
            <WriteLinesToFile File="$(Case).txt" Overwrite="true" Lines="@(RuntimeTargetsCopyLocalItems->'any: %(Identity) is %(PathInPackage) of %(NuGetPackageId)');@(NativeCopyLocalItems->'%(Rid): %(Identity) is %(PathInPackage) of %(NuGetPackageId)')" />
          </Target>
        </Project>
        """;

    /// <summary>Builds every case, and the last one again after its patched file was replaced by a mark.</summary>
    private static string AllCases => $"""
        <Project>
          <Target Name="Build">
            {string.Concat(Cases.Select(c => $"""<MSBuild Projects="case.proj" Targets="Report" Properties="Case={c.Key};{c.Value}" ContinueOnError="true" />"""))}
            <WriteLinesToFile File="{PatchedFile("again")}" Lines="mark" Overwrite="true" />
            <MSBuild Projects="case.proj" Targets="Report" Properties="Case=again;{Cases["again"]};Again=true" />
          </Target>
        </Project>
        """;

    /// <summary>Where the patched library of a case lies, relative to the project.</summary>
    public static string PatchedFile(string name) => $"obj/{name}/DoraSharp/TorchSharp.1.2.3/runtimes/linux-x64/native/libLibTorchSharp.so";

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>The items of a case after the targets ran.</summary>
    public string[] Items(string name) => File.ReadAllLines(PathOf(name + ".txt"));

    public string PathOf(string relativePath) => Path.Combine(_folder, relativePath);

    private static string Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return output;
    }

    private void Write(string relativePath, ReadOnlySpan<byte> content)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(PathOf(relativePath))!);
        File.WriteAllBytes(PathOf(relativePath), content);
    }
}
