using System.Text.Json.Nodes;
using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>The <c>quantization_config</c> of a <c>config.json</c>, as transformers writes it for bitsandbytes.</summary>
/// <param name="Source">Where it stands, for messages.</param>
/// <param name="IsFourBit">Whether weights have 4 bits; 8 otherwise.</param>
/// <param name="Format">The 4-bit format, if it is said.</param>
/// <param name="ComputeType">The dtype that 4-bit layers compute in, if it is said.</param>
/// <param name="DenseModules">Modules that are not quantized.</param>
internal sealed record BitsandbytesConfig(string Source, bool IsFourBit, QuantizationFormat? Format, ScalarType? ComputeType, IReadOnlyList<string> DenseModules)
{
    private const string Field = "quantization_config";
    private const string Compute = "bnb_4bit_compute_dtype";

    private static readonly (string Name, ScalarType DType)[] Types =
        [("float32", ScalarType.Float32), ("bfloat16", ScalarType.BFloat16), ("float16", ScalarType.Float16), ("float64", ScalarType.Float64)];

    /// <summary>Reads the field of a <c>config.json</c>; <see langword="null"/> where there is none.</summary>
    /// <exception cref="NotSupportedException">The weights are quantized in another way; the message names it.</exception>
    public static BitsandbytesConfig? Read(JsonFields config)
    {
        if (config.OptionalObject(Field) is not { } fields)
        {
            return null;
        }

        bool four = fields.Flag("load_in_4bit", otherwise: false) || fields.Flag("_load_in_4bit", otherwise: false);
        bool eight = fields.Flag("load_in_8bit", otherwise: false) || fields.Flag("_load_in_8bit", otherwise: false);
        string method = fields.OptionalText("quant_method") ?? (four || eight ? "bitsandbytes" : "not given");
        if (method != "bitsandbytes")
        {
            throw new NotSupportedException($"{fields.Source}: quant_method is '{method}'; supported is 'bitsandbytes'. Load the dense model and quantize it.");
        }

        if (four == eight)
        {
            throw new InvalidDataException($"{fields.Source}: one of load_in_4bit and load_in_8bit must be true.");
        }

        QuantizationFormat? format = fields.OptionalText("bnb_4bit_quant_type") switch
        {
            null => null,
            "nf4" => QuantizationFormat.Nf4,
            "fp4" => QuantizationFormat.Fp4,
            _ => throw fields.Wrong("bnb_4bit_quant_type", fields.Required("bnb_4bit_quant_type"), "'nf4' or 'fp4'"),
        };
        return new(fields.Source, four, format, ReadType(fields), [.. SkippedModules(fields)]);
    }

    /// <summary>Compares with what the checkpoint holds.</summary>
    /// <exception cref="InvalidDataException">The two contradict each other.</exception>
    public void Check(SafetensorsCheckpoint checkpoint, IReadOnlyCollection<string> quantizedWeights)
    {
        if (quantizedWeights.Count == 0)
        {
            throw new InvalidDataException($"{Source} says that weights are quantized, and '{checkpoint.Path}' holds no quantized weight: remove the field, or save the model again.");
        }

        foreach (string weight in quantizedWeights)
        {
            if (BitsandbytesReader.FindTensors(checkpoint, weight).FirstOrDefault(Contradicts) is { } state)
            {
                throw new InvalidDataException(
                    $"{Source} says that weights are in {(IsFourBit ? $"4 bits{(Format is { } format ? $", {format}" : "")}" : "8 bits")}, and '{checkpoint.Path}' holds '{state}': correct the field, or save the model again.");
            }

            string module = weight.Contains('.', StringComparison.Ordinal) ? weight[..weight.LastIndexOf('.')] : weight;
            if (DenseModules.Any(name => name.Length > 0 && $".{module}.".Contains($".{name}.", StringComparison.Ordinal)))
            {
                throw new InvalidDataException($"{Source}: llm_int8_skip_modules keeps '{module}' dense, and '{checkpoint.Path}' holds its weight quantized.");
            }
        }
    }

    /// <summary>The field for a model with such layers.</summary>
    /// <param name="layers">The quantized layers, at least one.</param>
    /// <param name="denseModules">The linear layers that are not quantized.</param>
    /// <exception cref="NotSupportedException">Layers of 4 and of 8 bits are mixed.</exception>
    public static JsonObject Write(IReadOnlyCollection<QuantizedLinear> layers, IReadOnlyList<string> denseModules)
    {
        QuantizedLinear first = layers.First();
        QuantizationOptions options = first.Weight.Options;
        bool four = options.Format is QuantizationFormat.Nf4 or QuantizationFormat.Fp4;
        if (layers.FirstOrDefault(layer => layer.Weight.Options.Format != options.Format) is { } other)
        {
            throw new NotSupportedException($"The model has layers in {options.Format} and in {other.Weight.Options.Format}; {Field} describes one format.");
        }

        return new JsonObject
        {
            ["_load_in_4bit"] = four,
            ["_load_in_8bit"] = !four,
            [Compute] = Types.First(type => type.DType == first.ComputeType).Name,
            ["bnb_4bit_quant_storage"] = "uint8",
            ["bnb_4bit_quant_type"] = options.Format == QuantizationFormat.Nf4 ? "nf4" : "fp4",
            ["bnb_4bit_use_double_quant"] = four && options.DoubleQuantization,
            ["llm_int8_enable_fp32_cpu_offload"] = false,
            ["llm_int8_has_fp16_weight"] = false,
            // Null would let transformers choose, and it always leaves the head dense.
            ["llm_int8_skip_modules"] = new JsonArray([.. denseModules.Select(static name => JsonValue.Create(name))]),
            ["llm_int8_threshold"] = 6.0,
            ["load_in_4bit"] = four,
            ["load_in_8bit"] = !four,
            ["quant_method"] = "bitsandbytes",
        };
    }

    /// <summary>Whether a tensor is what a weight of another format has beside it.</summary>
    private bool Contradicts(string name) =>
        name.EndsWith(".SCB", StringComparison.Ordinal) ? IsFourBit
        : name.EndsWith("__nf4", StringComparison.Ordinal) ? !IsFourBit || Format == QuantizationFormat.Fp4
        : name.EndsWith("__fp4", StringComparison.Ordinal) && (!IsFourBit || Format == QuantizationFormat.Nf4);

    private static ScalarType? ReadType(JsonFields fields)
    {
        string? name = fields.OptionalText(Compute);
        return name is null ? null
            : Types.FirstOrDefault(type => type.Name == name) is { Name: not null } found ? found.DType
            : throw fields.Wrong(Compute, fields.Required(Compute), string.Join(", ", Types.Select(static type => type.Name)));
    }

    private static IEnumerable<string> SkippedModules(JsonFields fields) => fields.Has("llm_int8_skip_modules")
        ? fields.Array("llm_int8_skip_modules").Select(item => item.ValueKind == System.Text.Json.JsonValueKind.String
            ? item.GetString()!
            : throw fields.Wrong("llm_int8_skip_modules", fields.Required("llm_int8_skip_modules"), "a list of strings"))
        : [];
}
