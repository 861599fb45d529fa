using System.Text.RegularExpressions;

namespace DoraSharp.Samples;

/// <summary>The identifiers of XML documentation (<c>M:System.Collections.Generic.List`1.Add(`0)</c>) as people write them.</summary>
internal static partial class DocumentedName
{
    /// <summary><c>List.Add</c> of the example: a member with its type, a type without its namespace.</summary>
    public static string Readable(string id)
    {
        string[] parts = Parts(id);
        bool isMember = id.Length > 1 && id[1] == ':' && id[0] is 'M' or 'P' or 'F' or 'E';
        return isMember && parts.Length > 1
            ? parts[^1].EndsWith("ctor", StringComparison.Ordinal) ? parts[^2] : $"{parts[^2]}.{parts[^1]}"
            : parts[^1];
    }

    /// <summary>The full name of the type that the identifier names or whose member it names.</summary>
    public static string DeclaringType(string id)
    {
        string[] parts = Parts(id);
        return string.Join('.', id.StartsWith("T:", StringComparison.Ordinal) ? parts : parts[..^1]);
    }

    private static string[] Parts(string id)
    {
        string name = id.Length > 1 && id[1] == ':' ? id[2..] : id;
        int arguments = name.IndexOf('(', StringComparison.Ordinal);
        return Arity().Replace(arguments < 0 ? name : name[..arguments], "").Split('.', StringSplitOptions.RemoveEmptyEntries) is { Length: > 0 } parts
            ? parts
            : [""];
    }

    [GeneratedRegex(@"`+\d+|~.*$")]
    private static partial Regex Arity();
}
