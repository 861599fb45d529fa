using System.Runtime.InteropServices;

namespace DoraSharp.Samples;

/// <summary>
/// Finds the XML documentation files of a reference pack, such as <c>Microsoft.NETCore.App.Ref</c>: every .NET SDK brings
/// them for IntelliSense, megabytes of English that can be read without a download.
/// </summary>
public static class ReferencePack
{
    /// <summary>The documentation files of the newest version of <paramref name="pack"/>, by name; empty where there is none.</summary>
    public static IReadOnlyList<string> FindDocumentation(string pack) => FindDocumentation(pack, Roots());

    /// <summary>As above, looking in <paramref name="roots"/>: folders that hold packs.</summary>
    internal static IReadOnlyList<string> FindDocumentation(string pack, IEnumerable<string> roots)
    {
        IEnumerable<string> newestFirst =
            from root in roots
            from folder in new[] { Path.Combine(root, pack), Path.Combine(root, pack.ToLowerInvariant()) }.Distinct()
            where Directory.Exists(folder)
            from version in Directory.EnumerateDirectories(folder)
            let number = Version.TryParse(Path.GetFileName(version).Split('-')[0], out Version? parsed) ? parsed : new Version()
            orderby number descending, version descending
            let references = Path.Combine(version, "ref")
            where Directory.Exists(references)
            from target in Directory.EnumerateDirectories(references)
            select target;
        foreach (string folder in newestFirst)
        {
            string[] files = Directory.GetFiles(folder, "*.xml");
            if (files.Length > 0)
            {
                Array.Sort(files, StringComparer.Ordinal);
                return files;
            }
        }

        return [];
    }

    private static IEnumerable<string> Roots()
    {
        // <dotnet>/shared/Microsoft.NETCore.App/<version>/ is where the running runtime lies in an SDK's folder.
        string runtime = Path.TrimEndingDirectorySeparator(RuntimeEnvironment.GetRuntimeDirectory());
        yield return Path.GetFullPath(Path.Combine(runtime, "..", "..", "..", "packs"));
        if (Environment.GetEnvironmentVariable("DOTNET_ROOT") is { Length: > 0 } dotnet)
        {
            yield return Path.Combine(dotnet, "packs");
        }

        // A build restores a pack that its SDK lacks as a package; package folders have lower-case names.
        string packages = Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } configured
            ? configured
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        yield return packages;
    }
}
