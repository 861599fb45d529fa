namespace DoraSharp.Samples.Pretrain;

/// <summary>A place for files that belong together: the folder gets them when all are complete, and keeps its old ones until then.</summary>
internal sealed class PendingFolder : IDisposable
{
    private readonly DirectoryInfo target;

    /// <summary>Creates the folder where it doesn't exist, and in it the place for the new files.</summary>
    /// <exception cref="UserException">The folder can't be created or written to.</exception>
    public PendingFolder(DirectoryInfo target)
    {
        this.target = target;
        Path = System.IO.Path.Combine(target.FullName, $".{Guid.NewGuid():N}.tmp");
        try
        {
            Directory.CreateDirectory(target.FullName);
            Directory.CreateDirectory(Path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserException($"--output {target}: the folder cannot be created or written to ({e.Message})", e);
        }

        Console.CancelKeyPress += Remove;
    }

    /// <summary>Where to write the new files.</summary>
    public string Path { get; }

    /// <summary>Moves the new files to where they belong.</summary>
    public void Complete()
    {
        foreach (string file in Directory.GetFiles(Path))
        {
            File.Move(file, System.IO.Path.Combine(target.FullName, System.IO.Path.GetFileName(file)), overwrite: true);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Console.CancelKeyPress -= Remove;
        Directory.Delete(Path, recursive: true);
    }

    private void Remove(object? sender, ConsoleCancelEventArgs e) => Directory.Delete(Path, recursive: true);
}
