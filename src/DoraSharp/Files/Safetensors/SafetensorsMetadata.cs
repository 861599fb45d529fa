using System.Collections;
using System.Diagnostics.CodeAnalysis;

namespace DoraSharp;

/// <summary>The free text of an open file; each field is read from the header when it is asked for.</summary>
internal sealed class SafetensorsMetadata(int count, Func<string, int> find, Func<int, KeyValuePair<string, string>> read) : IReadOnlyDictionary<string, string>
{
    public int Count => count;

    public IEnumerable<string> Keys => this.Select(static entry => entry.Key);

    public IEnumerable<string> Values => this.Select(static entry => entry.Value);

    public string this[string key] => TryGetValue(key, out string? value) ? value : throw new KeyNotFoundException($"The file's metadata have no field '{key}'.");

    public bool ContainsKey(string key) => find(key) >= 0;

    public bool TryGetValue(string key, [MaybeNullWhen(false)] out string value)
    {
        int found = find(key);
        value = found < 0 ? null : read(found).Value;
        return value is not null;
    }

    public IEnumerator<KeyValuePair<string, string>> GetEnumerator()
    {
        for (int i = 0; i < count; i++)
        {
            yield return read(i);
        }
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
