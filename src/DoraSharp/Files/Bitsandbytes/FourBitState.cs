using System.Globalization;
using System.Text;
using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What bitsandbytes writes of a 4-bit weight beside its tensors: a JSON object. Its <c>QuantState.as_dict</c>.</summary>
/// <param name="Format">NF4 or FP4.</param>
/// <param name="BlockSize">The number of elements that share a scale.</param>
/// <param name="DType">The element type of the weight before quantization.</param>
/// <param name="Shape">Its shape.</param>
/// <param name="Nested">With double quantization the block size and the offset of the scales.</param>
internal sealed record FourBitState(QuantizationFormat Format, int BlockSize, ScalarType DType, IReadOnlyList<long> Shape, (int BlockSize, float Offset)? Nested)
{
    /// <summary>The longest description that is accepted, in bytes.</summary>
    public const int MaxLength = 4096;

    private const int MaxDimensions = 8;
    private const int MaxDepth = 3;

    private static readonly (string Name, ScalarType DType)[] Types =
        [("float32", ScalarType.Float32), ("bfloat16", ScalarType.BFloat16), ("float16", ScalarType.Float16), ("float64", ScalarType.Float64)];

    /// <summary>The number of elements of the weight.</summary>
    public long Elements => Shape.Aggregate(1L, static (product, size) => product * size);

    /// <summary>bitsandbytes' name of a format.</summary>
    public static string TypeName(QuantizationFormat format) => format == QuantizationFormat.Fp4 ? "fp4" : "nf4";

    /// <summary>Reads and checks a description.</summary>
    /// <param name="json">The text.</param>
    /// <param name="type">The type that its tensor's name says.</param>
    /// <exception cref="InvalidDataException">The message says what is wrong, without the names of file and tensor.</exception>
    public static FourBitState Parse(ReadOnlySpan<byte> json, string type)
    {
        try
        {
            JsonElement root = JsonElement.Parse(json, new JsonDocumentOptions { AllowDuplicateProperties = false, MaxDepth = MaxDepth });
            JsonText.CheckAll(root);
            return Read(root, type);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new InvalidDataException($"is not valid JSON: {e.Message}", e);
        }
    }

    /// <summary>The text, as Python's <c>json.dumps</c> writes it.</summary>
    public byte[] ToJson()
    {
        string nested = Nested is { } scales
            ? $", \"nested_blocksize\": {scales.BlockSize.ToString(CultureInfo.InvariantCulture)}, \"nested_dtype\": \"float32\", \"nested_offset\": {PythonJson.Float(scales.Offset).ToJsonString()}"
            : "";
        string shape = string.Join(", ", Shape.Select(static size => size.ToString(CultureInfo.InvariantCulture)));
        string dtype = Types.First(entry => entry.DType == DType).Name;
        return Encoding.UTF8.GetBytes(
            $"{{\"quant_type\": \"{TypeName(Format)}\", \"blocksize\": {BlockSize.ToString(CultureInfo.InvariantCulture)}, \"dtype\": \"{dtype}\", \"shape\": [{shape}]{nested}}}");
    }

    private static FourBitState Read(JsonElement root, string type)
    {
        if (root.ValueKind != JsonValueKind.Object)
        {
            throw new InvalidDataException($"is a JSON {root.ValueKind} and no object");
        }

        QuantizationFormat format = Text(root, "quant_type") switch
        {
            "nf4" => QuantizationFormat.Nf4,
            "fp4" => QuantizationFormat.Fp4,
            string other => throw new InvalidDataException($"has quant_type '{Shown(other)}'; supported are 'nf4' and 'fp4'"),
        };
        if (TypeName(format) != type)
        {
            throw new InvalidDataException($"has quant_type '{TypeName(format)}', and its own name says '{Shown(type)}'");
        }

        int blockSize = BlockSizeOf(root, "blocksize");
        string name = Text(root, "dtype");
        ScalarType dtype = Types.FirstOrDefault(entry => entry.Name == name) is { Name: not null } found
            ? found.DType
            : throw new InvalidDataException($"has dtype '{Shown(name)}'; supported are {string.Join(", ", Types.Select(static entry => entry.Name))}");
        long[] shape = ReadShape(root);

        string[] nestedFields = [.. ((string[])["nested_blocksize", "nested_dtype", "nested_offset"]).Where(field => root.TryGetProperty(field, out _))];
        (int, float)? nested = nestedFields.Length switch
        {
            0 => null,
            3 => (BlockSizeOf(root, "nested_blocksize"), Offset(root)),
            _ => throw new InvalidDataException($"has {string.Join(" and ", nestedFields)}; of nested_blocksize, nested_dtype and nested_offset it must have all or none"),
        };
        int known = 4 + nestedFields.Length;
        return root.EnumerateObject().Count() == known
            ? new(format, blockSize, dtype, Array.AsReadOnly(shape), nested)
            : throw new InvalidDataException($"has {root.EnumerateObject().Count()} fields, of which {known} are known; one of the others may change what the codes mean");
    }

    private static long[] ReadShape(JsonElement root)
    {
        JsonElement value = Required(root, "shape");
        long elements = 1;
        List<long> shape = [];
        if (value.ValueKind == JsonValueKind.Array && value.GetArrayLength() is > 0 and <= MaxDimensions)
        {
            foreach (JsonElement item in value.EnumerateArray())
            {
                if (item.ValueKind != JsonValueKind.Number || !item.TryGetInt64(out long size) || size < 1 || size > long.MaxValue / 16 / elements)
                {
                    throw Wrong(value);
                }

                elements *= size;
                shape.Add(size);
            }

            return [.. shape];
        }

        throw Wrong(value);

        static InvalidDataException Wrong(JsonElement value) =>
            new($"has shape {Shown(value.GetRawText())}; it must be 1 to {MaxDimensions} positive integers whose product is a possible number of elements");
    }

    private static int BlockSizeOf(JsonElement root, string name)
    {
        JsonElement value = Required(root, name);
        return value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int size) && QuantizationOptions.IsBlockSize(size)
            ? size
            : throw new InvalidDataException($"has {name} {Shown(value.GetRawText())}; it must be a power of two from {QuantizationOptions.MinBlockSize} to {QuantizationOptions.MaxBlockSize}");
    }

    private static float Offset(JsonElement root)
    {
        string dtype = Text(root, "nested_dtype");
        JsonElement value = Required(root, "nested_offset");
        return dtype != "float32" ? throw new InvalidDataException($"has nested_dtype '{Shown(dtype)}'; supported is 'float32'")
            : value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double offset) && offset is >= 0 and <= float.MaxValue && (float)offset == offset
                ? (float)offset
                : throw new InvalidDataException($"has nested_offset {Shown(value.GetRawText())}; it must be a float32 of 0 or more, the mean of the scales");
    }

    private static string Text(JsonElement root, string name)
    {
        JsonElement value = Required(root, name);
        return value.ValueKind == JsonValueKind.String ? value.GetString()! : throw new InvalidDataException($"has {name} {Shown(value.GetRawText())}; it must be a string");
    }

    private static JsonElement Required(JsonElement root, string name) =>
        root.TryGetProperty(name, out JsonElement value) ? value : throw new InvalidDataException($"lacks {name}");

    private static string Shown(string text) => text.Length <= 60 ? text : text[..60] + "…";
}
