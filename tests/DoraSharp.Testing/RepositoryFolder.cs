namespace DoraSharp.Testing;

/// <summary>The repository that the tests were built from.</summary>
public static class RepositoryFolder
{
    /// <summary>The folder with <c>DoraSharp.sln</c>.</summary>
    public static DirectoryInfo Root { get; } = Find();

    /// <summary>The full path of a file in the repository.</summary>
    public static string File(params string[] parts) => Path.Combine([Root.FullName, .. parts]);

    private static DirectoryInfo Find()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (System.IO.File.Exists(Path.Combine(folder.FullName, "DoraSharp.sln")))
            {
                return folder;
            }
        }

        throw new DirectoryNotFoundException($"DoraSharp.sln is in no folder above {AppContext.BaseDirectory}.");
    }
}
