using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The plan of a safetensors file: the order of the tensors and the bytes before them, as the reference library would choose them.</summary>
internal sealed class SafetensorsLayout
{
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private SafetensorsLayout(byte[] header, Tensor[] tensors, long length)
    {
        Header = header;
        Tensors = tensors;
        Length = length;
    }

    /// <summary>The file's first bytes: the header's length and the header.</summary>
    public ReadOnlyMemory<byte> Header { get; }

    /// <summary>The tensors whose bytes follow, in this order.</summary>
    public IReadOnlyList<Tensor> Tensors { get; }

    /// <summary>The file's length in bytes.</summary>
    public long Length { get; }

    /// <summary>Checks the tensors and lays them out.</summary>
    /// <exception cref="ArgumentException">A tensor or the metadata cannot be stored; the message says which and why.</exception>
    public static SafetensorsLayout Create(IEnumerable<KeyValuePair<string, Tensor>> tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        List<Item> items = [];
        HashSet<string> names = [];
        foreach ((string name, Tensor tensor) in tensors)
        {
            items.Add(Check(name, tensor));
            if (!names.Add(name))
            {
                throw new ArgumentException($"The tensor '{name}' is given twice.", nameof(tensors));
            }
        }

        items.Sort(static (x, y) => x.Rank != y.Rank ? y.Rank.CompareTo(x.Rank) : x.Name.AsSpan().SequenceCompareTo(y.Name));
        byte[] header = Serialize(items, metadata, out long dataLength);
        return new(header, [.. items.Select(static item => item.Tensor)], header.Length + dataLength);
    }

    private static Item Check(string name, Tensor tensor)
    {
        ArgumentNullException.ThrowIfNull(name, nameof(tensor));
        ArgumentNullException.ThrowIfNull(tensor, name);
        if (tensor.IsInvalid)
        {
            throw new ArgumentException($"The tensor '{name}' is disposed.", nameof(tensor));
        }

        if (name == SafetensorsHeader.MetadataName)
        {
            throw new ArgumentException($"'{name}' is the name of the file's metadata and cannot be a tensor's.", nameof(name));
        }

        if (tensor.is_meta || tensor.is_sparse)
        {
            throw new ArgumentException($"The tensor '{name}' is {(tensor.is_meta ? "on the meta device" : "sparse")}: it has no dense data to store.", nameof(tensor));
        }

        int rank = SafetensorsType.RankOf(tensor.dtype);
        if (rank < 0)
        {
            throw new ArgumentException($"The tensor '{name}' is {tensor.dtype}, which the safetensors format lacks; convert it first.", nameof(tensor));
        }

        return new(Utf8Name(name), tensor, rank);
    }

    private static byte[] Serialize(List<Item> items, IReadOnlyDictionary<string, string>? metadata, out long dataLength)
    {
        ArrayBufferWriter<byte> buffer = new();
        buffer.GetSpan(SafetensorsHeader.PrefixLength)[..SafetensorsHeader.PrefixLength].Clear();
        buffer.Advance(SafetensorsHeader.PrefixLength);
        using (Utf8JsonWriter json = new(buffer, new JsonWriterOptions { Encoder = JsonTextEncoder.Minimal }))
        {
            json.WriteStartObject();
            WriteMetadata(json, metadata);
            dataLength = WriteEntries(json, items);
            json.WriteEndObject();
        }

        // Spaces align the data to eight bytes.
        int padding = -buffer.WrittenCount & 7;
        buffer.GetSpan(padding)[..padding].Fill((byte)' ');
        buffer.Advance(padding);
        byte[] header = buffer.WrittenSpan.ToArray();
        int length = header.Length - SafetensorsHeader.PrefixLength;
        if (length > SafetensorsHeader.MaxLength)
        {
            throw new ArgumentException($"The header would take {length} bytes; readers accept {SafetensorsHeader.MaxLength}.", nameof(items));
        }

        BinaryPrimitives.WriteUInt64LittleEndian(header, (ulong)length);
        return header;
    }

    private static void WriteMetadata(Utf8JsonWriter json, IReadOnlyDictionary<string, string>? metadata)
    {
        if (metadata is null)
        {
            return;
        }

        json.WriteStartObject(SafetensorsHeader.MetadataName);
        foreach ((string key, string value) in metadata)
        {
            ArgumentNullException.ThrowIfNull(value, nameof(metadata));
            json.WriteString(Utf8Name(key), Utf8(value));
        }

        json.WriteEndObject();
    }

    private static long WriteEntries(Utf8JsonWriter json, List<Item> items)
    {
        long offset = 0;
        foreach (Item item in items)
        {
            SafetensorsType type = SafetensorsType.All[item.Rank];
            json.WriteStartObject(item.Name);
            json.WriteString("dtype"u8, type.Name);
            json.WriteStartArray("shape"u8);
            foreach (long dimension in item.Tensor.shape)
            {
                json.WriteNumberValue(dimension);
            }

            json.WriteEndArray();
            json.WriteStartArray("data_offsets"u8);
            json.WriteNumberValue(offset);
            offset = checked(offset + (item.Tensor.numel() * type.Size));
            json.WriteNumberValue(offset);
            json.WriteEndArray();
            json.WriteEndObject();
        }

        return offset;
    }

    // Measured as it is written: escapes can make it longer.
    private static byte[] Utf8Name(string name)
    {
        byte[] bytes = Utf8(name);
        int length = JsonEncodedText.Encode(bytes, JsonTextEncoder.Minimal).EncodedUtf8Bytes.Length;
        return length <= SafetensorsHeader.MaxNameLength
            ? bytes
            : throw new ArgumentException($"The name '{name[..Math.Min(name.Length, 100)]}…' takes {length} bytes; readers accept {SafetensorsHeader.MaxNameLength}.", nameof(name));
    }

    private static byte[] Utf8(string text)
    {
        try
        {
            return StrictUtf8.GetBytes(text);
        }
        catch (EncoderFallbackException e)
        {
            throw new ArgumentException($"'{text}' holds half a surrogate pair and is no valid text.", nameof(text), e);
        }
    }

    // Names are compared as UTF-8, as the reference library does; UTF-16 would order some of them otherwise.
    private sealed record Item(byte[] Name, Tensor Tensor, int Rank);
}
