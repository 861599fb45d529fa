namespace DoraSharp;

/// <summary>A file that is written under a temporary name beside its place and moved there when complete; until then its place keeps what it has.</summary>
internal sealed class PendingFile : IDisposable
{
    private readonly string target;
    private readonly string temporary;
    private bool moved;

    /// <summary>Creates the temporary file.</summary>
    /// <param name="path">The file's place. Its folder must exist.</param>
    /// <param name="length">How long the file will be: where the disk is too full, this fails at once.</param>
    /// <exception cref="IOException">The folder is missing, the place is taken by a folder, or the file cannot be created.</exception>
    public PendingFile(string path, long length)
    {
        target = Path.GetFullPath(path);
        string folder = Path.GetDirectoryName(target) ?? target;
        if (Directory.Exists(target))
        {
            throw new IOException($"'{path}' is a folder; a file cannot be written in its place.");
        }

        if (!Directory.Exists(folder))
        {
            throw new DirectoryNotFoundException($"The folder '{folder}' does not exist.");
        }

        temporary = Path.Combine(folder, $".{Guid.NewGuid():N}.tmp");
        Stream = new FileStream(temporary, new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            PreallocationSize = length,
        });
    }

    /// <summary>Where to write.</summary>
    public FileStream Stream { get; }

    /// <summary>Brings all that was written to the disk; nothing can be written afterwards.</summary>
    public void Complete()
    {
        Stream.Flush(flushToDisk: true);
        Stream.Dispose();
    }

    /// <summary>Moves the completed file to its place, over what is there.</summary>
    public void Move()
    {
        File.Move(temporary, target, overwrite: true);
        moved = true;
    }

    /// <summary>Removes the temporary file unless it was moved.</summary>
    public void Dispose()
    {
        Stream.Dispose();
        if (!moved)
        {
            File.Delete(temporary);
        }
    }
}
