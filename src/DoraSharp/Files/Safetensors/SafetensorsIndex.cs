using System.Text.Json;

namespace DoraSharp;

/// <summary>
/// Where a header tells of each tensor. Ten bytes a tensor, whatever its name: a header of a million empty tensors must
/// not cost more than it holds, as objects for all of them would.
/// </summary>
internal sealed class SafetensorsIndex
{
    private readonly int[] positions;

    // A hash table with open addressing: the number of an entry, counted from 1.
    private readonly int[] buckets;

    public SafetensorsIndex(int capacity)
    {
        positions = new int[capacity];
        buckets = new int[capacity + (capacity / 2) + 1];
    }

    public int Count { get; private set; }

    /// <summary>The position in the header of an entry's name, its quote included.</summary>
    public int this[int entry] => positions.AsSpan(0, Count)[entry];

    /// <summary>Adds an entry unless its name is there.</summary>
    public bool TryAdd(ReadOnlySpan<byte> json, int position, ReadOnlySpan<char> name)
    {
        int bucket = Bucket(json, name);
        if (buckets[bucket] != 0)
        {
            return false;
        }

        positions[Count++] = position;
        buckets[bucket] = Count;
        return true;
    }

    /// <summary>The number of the entry with a name, or -1.</summary>
    public int Find(ReadOnlySpan<byte> json, ReadOnlySpan<char> name) => buckets[Bucket(json, name)] - 1;

    // The name's bucket, or the free one where it belongs. The hash is seeded anew in each process.
    private int Bucket(ReadOnlySpan<byte> json, ReadOnlySpan<char> name)
    {
        int bucket = (int)((uint)string.GetHashCode(name) % (uint)buckets.Length);
        while (buckets[bucket] != 0 && !HasName(json[positions[buckets[bucket] - 1]..], name))
        {
            bucket = (bucket + 1) % buckets.Length;
        }

        return bucket;
    }

    private static bool HasName(ReadOnlySpan<byte> json, ReadOnlySpan<char> name)
    {
        Utf8JsonReader reader = new(json, isFinalBlock: false, default);
        return reader.Read() && reader.ValueTextEquals(name);
    }
}
