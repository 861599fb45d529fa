namespace DoraSharp.Samples;

/// <summary>What the bundled base model learned from: the class library's documentation.</summary>
public static class PretrainingText
{
    /// <summary>The reference pack that is read.</summary>
    public const string Pack = "Microsoft.NETCore.App.Ref";

    private const double HeldOutFraction = 0.03;

    /// <summary>The documentation of the System assemblies, without the lists of processor instructions, and its held-out part.</summary>
    /// <exception cref="UserException">There is no .NET SDK with documentation files.</exception>
    public static TextSplit Read()
    {
        string[] files = [.. ReferencePack.FindDocumentation(Pack).Where(IsRead)];
        return files.Length > 0
            ? TextSplit.HoldOut(DocumentationFile.ReadAll(files), HeldOutFraction)
            : throw new UserException($"no XML documentation files of {Pack} were found: install a .NET SDK");
    }

    private static bool IsRead(string path) =>
        Path.GetFileName(path) is var name
        && name.StartsWith("System.", StringComparison.Ordinal)
        && name != "System.Runtime.Intrinsics.xml";
}
