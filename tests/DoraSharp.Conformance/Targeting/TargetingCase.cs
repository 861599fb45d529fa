using System.Collections.Concurrent;
using System.Text.Json;

namespace DoraSharp.Conformance;

/// <summary>A case of the area; the README of its area explains the fields.</summary>
/// <param name="Folder">The area's folder.</param>
/// <param name="Content">The case's JSON object.</param>
internal sealed record TargetingCase(string Folder, JsonElement Content)
{
    private static readonly ConcurrentDictionary<string, JsonElement[]> Files = new(StringComparer.Ordinal);

    public string Tree => Content.GetProperty("tree").GetString()!;

    public JsonElement Config => Content.GetProperty("config");

    public JsonElement Expected => Content.GetProperty("expected");

    /// <summary>Whether what the case expects is a defect of PEFT's, which its description sets right.</summary>
    public bool IsPeftBug => Content.GetProperty("tags").EnumerateArray().Any(static tag => tag.GetString() == "peft_bug");

    /// <summary>The reason of the expected error; <see langword="null"/> where a result is expected.</summary>
    public string? Reason => Expected.TryGetProperty("error", out JsonElement error) ? error.GetProperty("reason").GetString() : null;

    /// <summary>The names of all cases: the file's and the case's own.</summary>
    public static IEnumerable<string> Names(string folder) => Directory.GetFiles(Path.Combine(folder, "cases"), "*.json")
        .Order(StringComparer.Ordinal)
        .SelectMany(static file => Read(file).Select(content => $"{Path.GetFileNameWithoutExtension(file)}/{content.GetProperty("id").GetString()}"));

    /// <summary>A case by its name.</summary>
    public static TargetingCase Find(string folder, string name)
    {
        string[] parts = name.Split('/', 2);
        return new(folder, Read(Path.Combine(folder, "cases", parts[0] + ".json")).Single(content => content.GetProperty("id").GetString() == parts[1]));
    }

    private static JsonElement[] Read(string path) => Files.GetOrAdd(path, static path =>
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(path));
        return [.. document.RootElement.Clone().EnumerateArray()];
    });
}
