namespace DoraSharp.Samples.Quickstart;

/// <summary>The text that the model is adapted to.</summary>
public static class AdaptationText
{
    private const string Pack = "Microsoft.AspNetCore.App.Ref";
    private const double HeldOutFraction = 0.1;

    /// <summary>
    /// The user's text file, or else the documentation of ASP.NET Core, a domain that the bundled model never saw; the
    /// last tenth is held out.
    /// </summary>
    /// <exception cref="UserException">The file cannot be read or is empty, or there is no documentation on this machine.</exception>
    public static TextSplit Read(string? file) => TextSplit.HoldOut(file is null ? Documentation() : [ReadFile(file)], HeldOutFraction);

    private static IReadOnlyList<Document> Documentation()
    {
        string[] files =
        [
            .. ReferencePack.FindDocumentation(Pack)
                .Where(path => Path.GetFileName(path).StartsWith("Microsoft.AspNetCore.", StringComparison.Ordinal)),
        ];
        return files.Length > 0
            ? DocumentationFile.ReadAll(files)
            : throw new UserException($"this .NET SDK has no documentation files of {Pack} to adapt to: name a text file with --data");
    }

    private static Document ReadFile(string file)
    {
        string text;
        try
        {
            text = TextFile.Read(file);
        }
        catch (UserException e)
        {
            throw new UserException($"--data: {e.Message}", e);
        }

        return string.IsNullOrWhiteSpace(text)
            ? throw new UserException($"--data {file}: the file is empty")
            : new Document(Path.GetFileName(file), text);
    }
}
