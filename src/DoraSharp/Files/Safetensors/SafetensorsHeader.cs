using System.Text;
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

    /// <summary>The longest name of a tensor or of a field of the metadata, in bytes.</summary>
    public const int MaxNameLength = 4096;

    /// <summary>The bytes before the header: its length as a little-endian 64-bit number.</summary>
    public const int PrefixLength = sizeof(ulong);

    /// <summary>The name under which a header holds free text rather than a tensor.</summary>
    public const string MetadataName = "__metadata__";

    // libtorch's own limit for the operations that walk over elements.
    private const int MaxDimensions = 64;

    // The root object, an entry in it, an array in that.
    private const int MaxDepth = 3;

    private const int Shown = 200;

    private readonly ReadOnlySpan<byte> json;
    private readonly long dataLength;
    private readonly Span<long> dimensions;
    private Utf8JsonReader reader;

    // The name of what is read, for messages.
    private ReadOnlySpan<byte> name;

    private SafetensorsHeader(ReadOnlySpan<byte> json, long dataLength, Span<long> dimensions)
    {
        this.json = json;
        this.dataLength = dataLength;
        this.dimensions = dimensions;
        reader = new(json, new JsonReaderOptions { MaxDepth = MaxDepth });
    }

    private readonly long DataStart => PrefixLength + json.Length;

    /// <summary>Parses and checks a header.</summary>
    /// <param name="json">The header, without the length before it.</param>
    /// <param name="dataLength">How many bytes follow the header in the file.</param>
    /// <exception cref="InvalidDataException">The header is damaged; the message says where, without the file's path.</exception>
    public static (SafetensorsIndex Metadata, SafetensorsIndex Tensors) Parse(ReadOnlySpan<byte> json, long dataLength)
    {
        if (json.IsEmpty || json[0] != (byte)'{')
        {
            throw new InvalidDataException("the header does not begin with '{'");
        }

        if (!Utf8.IsValid(json))
        {
            throw new InvalidDataException("the header is not UTF-8");
        }

        SafetensorsHeader header = new(json, dataLength, stackalloc long[MaxDimensions]);
        try
        {
            return header.ReadRoot();
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException is the JSON reader's answer to half a surrogate pair.
            throw new InvalidDataException($"the header is not valid JSON: {e.Message}", e);
        }
    }

    /// <summary>Reads one entry of a header that was parsed; all is checked again, for the file may have been changed.</summary>
    /// <param name="json">The header, without the length before it.</param>
    /// <param name="dataLength">How many bytes follow the header in the file.</param>
    /// <param name="position">Where the entry's name begins.</param>
    /// <exception cref="InvalidDataException">The header is no longer what it was.</exception>
    public static SafetensorsEntry ReadEntry(ReadOnlySpan<byte> json, long dataLength, int position)
    {
        SafetensorsHeader header = new(json, dataLength, stackalloc long[MaxDimensions]);
        try
        {
            string name = header.MoveTo(position);
            (SafetensorsType type, int rank, long begin, long length) = header.ReadFields();
            return new(name, type.DType, Array.AsReadOnly(header.dimensions[..rank].ToArray()), header.DataStart + begin, length);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new InvalidDataException($"the header is not valid JSON any more: {e.Message}", e);
        }
    }

    /// <summary>Reads one field of a parsed header's metadata.</summary>
    /// <param name="json">The header, without the length before it.</param>
    /// <param name="position">Where the field's name begins.</param>
    /// <exception cref="InvalidDataException">The header is no longer what it was.</exception>
    public static KeyValuePair<string, string> ReadMetadata(ReadOnlySpan<byte> json, int position)
    {
        SafetensorsHeader header = new(json, 0, default);
        try
        {
            string key = header.MoveTo(position);
            header.Expect(JsonTokenType.String, "a text");
            return KeyValuePair.Create(key, JsonString.Decode(header.reader.ValueSpan));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new InvalidDataException($"the header is not valid JSON any more: {e.Message}", e);
        }
    }

    // A property is no JSON document: its name is read as one, then its value.
    private string MoveTo(int position)
    {
        ReadOnlySpan<byte> property = json[position..];
        reader = new(property, isFinalBlock: false, default);
        reader.Read();
        name = reader.ValueSpan;
        string text = reader.GetString() ?? "";
        ReadOnlySpan<byte> rest = property[(int)reader.BytesConsumed..];
        reader = new(rest[(rest.IndexOf((byte)':') + 1)..], isFinalBlock: false, default);
        return text;
    }

    private (SafetensorsIndex Metadata, SafetensorsIndex Tensors) ReadRoot()
    {
        int capacity = CountProperties(reader);
        SafetensorsIndex tensors = new(capacity);
        (long Begin, long Length, int Entry)[] ranges = new (long, long, int)[capacity];
        SafetensorsIndex? metadata = null;
        Span<char> text = stackalloc char[MaxNameLength];
        reader.Read();
        while (NextProperty())
        {
            if (reader.ValueTextEquals(MetadataName))
            {
                metadata = metadata is null ? ReadMetadata(text) : throw new InvalidDataException($"{MetadataName} is there twice");
                continue;
            }

            int position = (int)reader.TokenStartIndex;
            int length = reader.CopyString(text);
            (_, _, long begin, long bytes) = ReadFields();
            ranges[tensors.Count] = (begin, bytes, tensors.Count);
            if (!tensors.TryAdd(json, position, text[..length]))
            {
                throw Bad("is there twice");
            }
        }

        // Padding is the only thing that may follow.
        if (json[(int)reader.BytesConsumed..].ContainsAnyExcept((byte)' '))
        {
            throw new InvalidDataException("something other than spaces follows the header's JSON object");
        }

        CheckLayout(ranges.AsSpan(0, tensors.Count), tensors);
        return (metadata ?? new(0), tensors);
    }

    private SafetensorsIndex ReadMetadata(scoped Span<char> text)
    {
        Utf8JsonReader ahead = reader;
        Expect(JsonTokenType.StartObject, "an object");
        SafetensorsIndex metadata = new(CountProperties(ahead));
        while (NextProperty())
        {
            int position = (int)reader.TokenStartIndex;
            int length = reader.CopyString(text);
            ReadOnlySpan<byte> key = name;
            name = "__metadata__"u8;
            Expect(JsonTokenType.String, "a text in each of its fields");
            if (!JsonString.IsWellFormed(reader.ValueSpan))
            {
                throw new InvalidDataException($"the header is not valid JSON: {MetadataName} has half a surrogate pair in its field {Quoted(key)}");
            }

            if (!metadata.TryAdd(json, position, text[..length]))
            {
                throw new InvalidDataException($"{MetadataName} has the field {Quoted(key)} twice");
            }
        }

        return metadata;
    }

    // So that nothing has to grow. What is damaged is found, and told, by the reading that follows.
    private static int CountProperties(Utf8JsonReader reader)
    {
        int count = 0;
        try
        {
            reader.Read();
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                count++;
                reader.Skip();
            }
        }
        catch (JsonException)
        {
        }

        return count;
    }

    private (SafetensorsType Type, int Rank, long Begin, long Length) ReadFields()
    {
        SafetensorsType? type = null;
        int? rank = null;
        (long Begin, long End)? offsets = null;
        Expect(JsonTokenType.StartObject, "an object");
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            bool repeated;
            if (reader.ValueTextEquals("dtype"))
            {
                repeated = type is not null;
                type = ReadType();
            }
            else if (reader.ValueTextEquals("shape"))
            {
                repeated = rank is not null;
                rank = ReadShape();
            }
            else if (reader.ValueTextEquals("data_offsets"))
            {
                repeated = offsets is not null;
                offsets = ReadOffsets();
            }
            else
            {
                throw Bad($"has the unknown field {Quoted(reader.ValueSpan)}");
            }

            if (repeated)
            {
                throw Bad("has a field twice");
            }
        }

        if (type is null || rank is null || offsets is not var (begin, end))
        {
            throw Bad("lacks one of the fields dtype, shape, data_offsets");
        }

        CheckSize(type, dimensions[..rank.Value], begin, end);
        return (type, rank.Value, begin, end - begin);
    }

    private SafetensorsType ReadType()
    {
        Expect(JsonTokenType.String, "a text as dtype");
        for (int i = 0; i < SafetensorsType.All.Count; i++)
        {
            if (reader.ValueTextEquals(SafetensorsType.All[i].Name))
            {
                return SafetensorsType.All[i];
            }
        }

        throw Bad($"has the dtype {Quoted(reader.ValueSpan)}; TorchSharp has {string.Join(", ", SafetensorsType.All.Select(type => type.Name))}");
    }

    private int ReadShape()
    {
        Expect(JsonTokenType.StartArray, "an array as shape");
        int count = 0;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (count == MaxDimensions)
            {
                throw Bad($"has more than {MaxDimensions} dimensions");
            }

            dimensions[count++] = ReadCount("shape");
        }

        return count;
    }

    private (long Begin, long End) ReadOffsets()
    {
        Expect(JsonTokenType.StartArray, "an array as data_offsets");
        reader.Read();
        long begin = ReadCount("data_offsets");
        reader.Read();
        long end = ReadCount("data_offsets");
        Expect(JsonTokenType.EndArray, "two numbers as data_offsets");
        return (begin, end);
    }

    private readonly long ReadCount(string field) =>
        reader.TokenType == JsonTokenType.Number && reader.ValueSpan[0] != (byte)'-' && reader.TryGetInt64(out long value)
            ? value
            : throw Bad($"needs whole numbers from 0 to {long.MaxValue} in {field}");

    private readonly void CheckSize(SafetensorsType type, ReadOnlySpan<long> shape, long begin, long end)
    {
        if (begin > end || end > dataLength)
        {
            throw Bad($"claims the bytes {begin} to {end} of {dataLength} bytes of data: the file is damaged or cut off");
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
            throw Bad($"takes {expected} bytes by its shape [{string.Join(", ", shape.ToArray())}] and dtype {type.Name}, {end - begin} by its data_offsets");
        }
    }

    /// <summary>The tensors must cover the data without overlap and without a gap.</summary>
    private void CheckLayout(Span<(long Begin, long Length, int Entry)> ranges, SafetensorsIndex index)
    {
        ranges.Sort();
        long covered = 0;
        foreach ((long begin, long length, int entry) in ranges)
        {
            if (begin != covered)
            {
                MoveTo(index[entry]);
                throw Bad(begin < covered
                    ? "overlaps another tensor's data"
                    : $"begins {begin - covered} bytes after the data of the tensor before it");
            }

            covered += length;
        }

        if (covered != dataLength)
        {
            throw new InvalidDataException($"{dataLength - covered} bytes at the file's end belong to no tensor");
        }
    }

    private bool NextProperty()
    {
        if (!reader.Read() || reader.TokenType != JsonTokenType.PropertyName)
        {
            return false;
        }

        name = reader.ValueSpan;
        return name.Length <= MaxNameLength
            ? true
            : throw new InvalidDataException($"the name {Quoted(name)} has {name.Length} bytes, more than the {MaxNameLength} that are accepted");
    }

    private void Expect(JsonTokenType token, string what)
    {
        reader.Read();
        if (reader.TokenType != token)
        {
            throw Bad($"must be or have {what}");
        }
    }

    private readonly InvalidDataException Bad(string what) => new($"tensor {Quoted(name)} {what}");

    // A hostile name must not flood the message. The cut may go through a letter, which then is shown as a question mark.
    private static string Quoted(ReadOnlySpan<byte> name) =>
        name.Length <= Shown ? $"'{Encoding.UTF8.GetString(name)}'" : $"'{Encoding.UTF8.GetString(name[..Shown])}…'";
}
