namespace DoraSharp.Samples.Quickstart;

/// <summary>Where the command writes: checked before the training, so that no work is lost, and written without half files.</summary>
public static class OutputPath
{
    /// <summary>Creates the folder if need be and sees whether files can be written to it.</summary>
    /// <exception cref="UserException">They cannot.</exception>
    public static void RequireFolder(string option, string folder)
    {
        RequireName(option, folder);
        Explain(option, folder, () =>
        {
            Directory.CreateDirectory(folder);
            using FileStream probe = new(
                Path.Combine(folder, Path.GetRandomFileName()), FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 1, FileOptions.DeleteOnClose);
        });
    }

    /// <summary>Sees whether the file can be written; creates its folder if need be.</summary>
    /// <exception cref="UserException">It cannot.</exception>
    public static void RequireFile(string option, string file)
    {
        RequireName(option, file);
        if (Directory.Exists(file) || Path.EndsInDirectorySeparator(file))
        {
            throw new UserException($"{option} {file}: this is a folder, not a file");
        }

        RequireFolder(option, Path.GetDirectoryName(Path.GetFullPath(file))!);
    }

    /// <summary>Writes a file under a temporary name and moves it into place.</summary>
    /// <exception cref="UserException">It cannot be written; what was there is still there.</exception>
    public static void WriteFile(string option, string file, byte[] content) => Explain(option, file, () =>
    {
        string temporary = $"{file}.{Path.GetRandomFileName()}";
        try
        {
            File.WriteAllBytes(temporary, content);
            File.Move(temporary, file, overwrite: true);
        }
        finally
        {
            File.Delete(temporary);
        }
    });

    /// <summary>Turns the file system's refusals into something that the user can put right.</summary>
    /// <exception cref="UserException">The file system refused.</exception>
    public static void Explain(string option, string path, Action write)
    {
        try
        {
            write();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserException($"{option} {path}: cannot be written: {e.Message.ReplaceLineEndings(" ")}", e);
        }
    }

    private static void RequireName(string option, string path)
    {
        if (string.IsNullOrWhiteSpace(path))
        {
            throw new UserException($"{option} needs a name, but got an empty one");
        }
    }
}
