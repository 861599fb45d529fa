namespace DoraSharp;

/// <summary>PEFT's rule for names: literal text that is a path, or its end behind a dot.</summary>
internal static class ModuleNames
{
    /// <summary>Whether a name means a path.</summary>
    public static bool Names(string name, string path) => name == path || IsSuffix(name, path);

    /// <summary>Whether a path ends with a dot and the name.</summary>
    public static bool IsSuffix(string name, string path) =>
        path.Length > name.Length && path[^(name.Length + 1)] == '.' && path.EndsWith(name, StringComparison.Ordinal);

    /// <summary>The last part of a path.</summary>
    public static string Last(string path) => path[(path.LastIndexOf('.') + 1)..];

    /// <summary>The ends of a path behind its dots, the shortest first, and the path itself.</summary>
    public static IEnumerable<string> Suffixes(string path)
    {
        for (int dot = path.LastIndexOf('.'); dot >= 0; dot = dot == 0 ? -1 : path.LastIndexOf('.', dot - 1))
        {
            yield return path[(dot + 1)..];
        }

        yield return path;
    }
}
