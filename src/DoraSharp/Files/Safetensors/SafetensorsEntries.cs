using System.Collections;

namespace DoraSharp;

/// <summary>The tensors of an open file; each is read from the header when it is asked for.</summary>
internal sealed class SafetensorsEntries(int count, Func<int, SafetensorsEntry> read) : IReadOnlyList<SafetensorsEntry>
{
    public int Count => count;

    public SafetensorsEntry this[int index] => read(index);

    public IEnumerator<SafetensorsEntry> GetEnumerator()
    {
        for (int i = 0; i < count; i++)
        {
            yield return read(i);
        }
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
