using System.Diagnostics.CodeAnalysis;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>The tensors of a case; remembers which of them were looked at.</summary>
internal sealed class TensorFile : IDisposable
{
    private readonly SafetensorsReader reader;
    private readonly HashSet<string> used = new(StringComparer.Ordinal);

    /// <summary>Opens a safetensors file.</summary>
    public TensorFile(string path)
    {
        reader = SafetensorsReader.Open(path);
        Names = [.. reader.Entries.Select(static entry => entry.Name)];
    }

    public IReadOnlyList<string> Names { get; }

    /// <summary>The names that no check has looked at.</summary>
    public IEnumerable<string> Unused => Names.Where(name => !used.Contains(name));

    public bool Has(string name) => reader.TryGetEntry(name, out _);

    public Tensor Read(string name)
    {
        used.Add(name);
        return reader.Read(name);
    }

    public bool TryRead(string name, [NotNullWhen(true)] out Tensor? value)
    {
        value = Has(name) ? Read(name) : null;
        return value is not null;
    }

    /// <summary>The tensors whose names begin with a prefix, by the rest of their names.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> ReadAll(string prefix) => Names
        .Where(name => name.StartsWith(prefix, StringComparison.Ordinal))
        .Select(name => KeyValuePair.Create(name[prefix.Length..], Read(name)));

    public void Dispose() => reader.Dispose();
}
