using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace DoraSharp.Benchmarks;

/// <summary>Writes results as JSON.</summary>
internal static class JsonFile
{
    /// <summary>Puts the file in place whole: a reader never sees half of it. Does nothing without a file.</summary>
    public static void Write<T>(FileInfo? file, IReadOnlyList<T> rows, JsonTypeInfo<IReadOnlyList<T>> type)
    {
        if (file is null)
        {
            return;
        }

        file.Directory?.Create();
        string pending = file.FullName + ".tmp";
        File.WriteAllText(pending, JsonSerializer.Serialize(rows, type) + "\n");
        File.Move(pending, file.FullName, overwrite: true);
    }
}
