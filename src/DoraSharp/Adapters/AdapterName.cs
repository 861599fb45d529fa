using System.Buffers;

namespace DoraSharp;

/// <summary>The rules of adapter names: they become module names, and folder names where an adapter is saved.</summary>
internal static class AdapterName
{
    public const string Default = "default";

    /// <summary>What stands for the base model in mixed batches.</summary>
    private const string Base = SampleAdapters.Base;

    private static readonly SearchValues<char> Refused = SearchValues.Create("./\\:*?\"<>|");

    public static void Check(string name)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        if (name == Base)
        {
            throw new ArgumentException($"'{Base}' is no adapter name: it stands for the base model in mixed batches.", nameof(name));
        }

        if (name.AsSpan().ContainsAny(Refused) || name.Any(char.IsControl))
        {
            throw new ArgumentException($"'{name}' is no adapter name: it becomes a module's and a folder's name, so it cannot hold any of . / \\ : * ? \" < > |", nameof(name));
        }
    }
}
