using System.Text.Json;

namespace DoraSharp.Conformance;

/// <summary>An adapter of a case.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Folder">The folder that PEFT wrote it to.</param>
/// <param name="Config">The settings that were asked for.</param>
internal sealed record AdapterDescription(string Name, string Folder, IReadOnlyDictionary<string, JsonElement> Config);
