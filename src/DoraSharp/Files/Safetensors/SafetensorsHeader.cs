using System.Text.Json;
using System.Text.Unicode;

namespace DoraSharp;

/// <summary>
/// Parses the JSON header of a safetensors file and checks all it claims against the file's length.
/// Trusts nothing: no claim leads to an allocation before it has been compared with what is there.
/// </summary>
internal ref struct SafetensorsHeader
{
    /// <summary>The longest header that is accepted, the reference library's limit.</summary>
    public const int MaxLength = 100_000_000;

    /// <summary>The bytes before the header: its length as a little-endian 64-bit number.</summary>
    public const int PrefixLength = sizeof(ulong);

    /// <summary>The name under which a header holds free text rather than a tensor.</summary>
    public const string MetadataName = "__metadata__";

    // libtorch's own limit for the operations that walk over elements.
    private const int MaxDimensions = 64;

    // The root object, an entry in it, an array in that.
    private const int MaxDepth = 3;

    private readonly ReadOnlySpan<byte> json;
    private readonly long dataLength;
    private readonly OrderedDictionary<string, string> metadata = [];
    private readonly OrderedDictionary<string, SafetensorsEntry> entries = [];
    private Utf8JsonReader reader;

    private SafetensorsHeader(ReadOnlySpan<byte> json, long dataLength)
    {
        this.json = json;
        this.dataLength = dataLength;
        reader = new(json, new JsonReaderOptions { MaxDepth = MaxDepth });
    }

    private readonly long DataStart => PrefixLength + json.Length;

    /// <summary>Parses and checks a header.</summary>
    /// <param name="json">The header, without the length before it.</param>
    /// <param name="dataLength">How many bytes follow the header in the file.</param>
    /// <exception cref="InvalidDataException">The header is damaged; the message says where, without the file's path.</exception>
    public static (OrderedDictionary<string, string> Metadata, OrderedDictionary<string, SafetensorsEntry> Entries) Parse(
        ReadOnlySpan<byte> json, long dataLength)
    {
        if (json.IsEmpty || json[0] != (byte)'{')
        {
            throw new InvalidDataException("the header does not begin with '{'");
        }

        if (!Utf8.IsValid(json))
        {
            throw new InvalidDataException("the header is not UTF-8");
        }

        SafetensorsHeader header = new(json, dataLength);
        try
        {
            header.ReadRoot();
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException is the JSON reader's answer to half a surrogate pair.
            throw new InvalidDataException($"the header is not valid JSON: {e.Message}", e);
        }

        header.CheckLayout();
        return (header.metadata, header.entries);
    }

    private void ReadRoot()
    {
        reader.Read();
        bool hasMetadata = false;
        while (NextProperty())
        {
            if (!reader.ValueTextEquals(MetadataName))
            {
                ReadEntry(reader.GetString()!);
            }
            else if (!hasMetadata)
            {
                hasMetadata = true;
                ReadMetadata();
            }
            else
            {
                throw new InvalidDataException($"{MetadataName} is there twice");
            }
        }

        // Padding is the only thing that may follow.
        if (json[(int)reader.BytesConsumed..].ContainsAnyExcept((byte)' '))
        {
            throw new InvalidDataException("something other than spaces follows the header's JSON object");
        }
    }

    private void ReadMetadata()
    {
        Expect(JsonTokenType.StartObject, MetadataName, "an object");
        while (NextProperty())
        {
            string key = reader.GetString()!;
            Expect(JsonTokenType.String, MetadataName, "a text in each of its fields");
            if (!metadata.TryAdd(key, reader.GetString()!))
            {
                throw new InvalidDataException($"{MetadataName} has the field {Quoted(key)} twice");
            }
        }
    }

    private void ReadEntry(string name)
    {
        SafetensorsType? type = null;
        long[]? shape = null;
        (long Begin, long End)? offsets = null;
        Expect(JsonTokenType.StartObject, name, "an object");
        while (NextProperty())
        {
            bool repeated;
            if (reader.ValueTextEquals("dtype"))
            {
                repeated = type is not null;
                type = ReadType(name);
            }
            else if (reader.ValueTextEquals("shape"))
            {
                repeated = shape is not null;
                shape = ReadShape(name);
            }
            else if (reader.ValueTextEquals("data_offsets"))
            {
                repeated = offsets is not null;
                offsets = ReadOffsets(name);
            }
            else
            {
                throw Bad(name, $"has the unknown field {Quoted(reader.GetString()!)}");
            }

            if (repeated)
            {
                throw Bad(name, "has a field twice");
            }
        }

        if (type is null || shape is null || offsets is not var (begin, end))
        {
            throw Bad(name, "lacks one of the fields dtype, shape, data_offsets");
        }

        CheckSize(name, type, shape, begin, end);
        if (!entries.TryAdd(name, new(name, type.DType, Array.AsReadOnly(shape), DataStart + begin, end - begin)))
        {
            throw Bad(name, "is there twice");
        }
    }

    private SafetensorsType ReadType(string name)
    {
        Expect(JsonTokenType.String, name, "a text as dtype");
        foreach (SafetensorsType type in SafetensorsType.All)
        {
            if (reader.ValueTextEquals(type.Name))
            {
                return type;
            }
        }

        throw Bad(name, $"has the dtype {Quoted(reader.GetString()!)}; TorchSharp has {string.Join(", ", SafetensorsType.All.Select(type => type.Name))}");
    }

    private long[] ReadShape(string name)
    {
        Expect(JsonTokenType.StartArray, name, "an array as shape");
        Span<long> shape = stackalloc long[MaxDimensions];
        int count = 0;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (count == MaxDimensions)
            {
                throw Bad(name, $"has more than {MaxDimensions} dimensions");
            }

            shape[count++] = ReadCount(name, "shape");
        }

        return shape[..count].ToArray();
    }

    private (long Begin, long End) ReadOffsets(string name)
    {
        Expect(JsonTokenType.StartArray, name, "an array as data_offsets");
        reader.Read();
        long begin = ReadCount(name, "data_offsets");
        reader.Read();
        long end = ReadCount(name, "data_offsets");
        Expect(JsonTokenType.EndArray, name, "two numbers as data_offsets");
        return (begin, end);
    }

    private readonly long ReadCount(string name, string field) =>
        reader.TokenType == JsonTokenType.Number && reader.ValueSpan[0] != (byte)'-' && reader.TryGetInt64(out long value)
            ? value
            : throw Bad(name, $"needs whole numbers from 0 to {long.MaxValue} in {field}");

    private readonly void CheckSize(string name, SafetensorsType type, long[] shape, long begin, long end)
    {
        if (begin > end || end > dataLength)
        {
            throw Bad(name, $"claims the bytes {begin} to {end} of {dataLength} bytes of data: the file is damaged or cut off");
        }

        // A dimension of 0 must not hide an overflow: strides are made from the others.
        long elements = 1;
        bool empty = false;
        try
        {
            foreach (long dimension in shape)
            {
                elements = checked(elements * Math.Max(dimension, 1));
                empty |= dimension == 0;
            }

            elements = checked(elements * type.Size);
        }
        catch (OverflowException e)
        {
            throw new InvalidDataException($"tensor {Quoted(name)} has a shape of more than 2^63 bytes", e);
        }

        long expected = empty ? 0 : elements;
        if (expected != end - begin)
        {
            throw Bad(name, $"takes {expected} bytes by its shape [{string.Join(", ", shape)}] and dtype {type.Name}, {end - begin} by its data_offsets");
        }
    }

    /// <summary>The tensors must cover the data without overlap and without a gap.</summary>
    private readonly void CheckLayout()
    {
        SafetensorsEntry[] ordered = [.. entries.Values];
        Array.Sort(ordered, static (x, y) => (x.ByteOffset, x.ByteLength).CompareTo((y.ByteOffset, y.ByteLength)));
        long covered = DataStart;
        foreach (SafetensorsEntry entry in ordered)
        {
            if (entry.ByteOffset != covered)
            {
                throw Bad(entry.Name, entry.ByteOffset < covered
                    ? "overlaps another tensor's data"
                    : $"begins {entry.ByteOffset - covered} bytes after the data of the tensor before it");
            }

            covered += entry.ByteLength;
        }

        if (covered != DataStart + dataLength)
        {
            throw new InvalidDataException($"{DataStart + dataLength - covered} bytes at the file's end belong to no tensor");
        }
    }

    private bool NextProperty() => reader.Read() && reader.TokenType == JsonTokenType.PropertyName;

    private void Expect(JsonTokenType token, string name, string what)
    {
        reader.Read();
        if (reader.TokenType != token)
        {
            throw Bad(name, $"must be or have {what}");
        }
    }

    private static InvalidDataException Bad(string name, string what) => new($"tensor {Quoted(name)} {what}");

    // A hostile name must not flood the message.
    private static string Quoted(string name) => name.Length <= 200 ? $"'{name}'" : $"'{name[..200]}…'";
}
