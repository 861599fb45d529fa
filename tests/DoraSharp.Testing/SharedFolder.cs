using Xunit;

namespace DoraSharp.Testing;

/// <summary>
/// The optional folder <c>shared/</c> beside the repository: real models, data and golden files.
/// Tests that need it are skipped where it is missing, and fail in CI.
/// </summary>
public static class SharedFolder
{
    private static readonly string? Root = Find();

    /// <summary>The full path of a file or folder in <c>shared/</c>; skips the running test where the folder is missing.</summary>
    public static string Require(params string[] parts)
    {
        if (Root is null)
        {
            const string reason = "the optional folder shared/ (real models, data, golden files) is not beside the repository";
            if (Environment.GetEnvironmentVariable("CI") == "true")
            {
                Assert.Fail(reason + ", but CI=true requires it");
            }

            Assert.Skip(reason);
        }

        string path = Path.Combine([Root, .. parts]);
        Assert.True(Path.Exists(path), $"shared/ exists but lacks {Path.Combine(parts)}");
        return path;
    }

    private static string? Find()
    {
        string? beside = RepositoryFolder.Root.Parent?.FullName;
        string shared = Path.Combine(beside ?? "", "shared");
        return beside is not null && Directory.Exists(shared) ? shared : null;
    }
}
