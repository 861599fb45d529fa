using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Reads weights as bitsandbytes stores them: those of <c>Linear4bit</c> (<c>weight</c> with <c>weight.absmax</c>, <c>weight.quant_map</c>,
/// <c>weight.quant_state.bitsandbytes__nf4</c>, …) and of <c>Linear8bitLt</c> (<c>weight</c> with <c>SCB</c>).
/// </summary>
/// <remarks>
/// Shapes, types, block counts and levels must agree with each other and with the description; nothing is read before
/// the headers have been compared. Codes in another storage type (<c>bnb_4bit_quant_storage</c>) are reinterpreted.
/// </remarks>
public static class BitsandbytesReader
{
    /// <summary>The names of the quantized weights of a checkpoint, in its order: all that have a quantization state, sound or not.</summary>
    /// <param name="checkpoint">The checkpoint.</param>
    public static IReadOnlyList<string> FindWeights(SafetensorsCheckpoint checkpoint)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        return [.. checkpoint.Names.Select(BitsandbytesKeys.WeightOf).OfType<string>().Distinct(StringComparer.Ordinal)];
    }

    /// <summary>The names of all tensors that hold a quantized weight, its own among them.</summary>
    /// <param name="checkpoint">The checkpoint.</param>
    /// <param name="weight">The weight's name, such as <c>model.layers.0.mlp.up_proj.weight</c>.</param>
    public static IReadOnlyList<string> FindTensors(SafetensorsCheckpoint checkpoint, string weight)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        ArgumentException.ThrowIfNullOrEmpty(weight);
        return [.. checkpoint.Names.Where(name => name == weight), .. new BitsandbytesKeys(weight).Companions(checkpoint.Names)];
    }

    /// <summary>Reads a quantized weight.</summary>
    /// <param name="checkpoint">The checkpoint.</param>
    /// <param name="weight">The weight's name, such as <c>model.layers.0.mlp.up_proj.weight</c>.</param>
    /// <param name="device">Where it shall live; the CPU by default.</param>
    /// <param name="rowsDType">The element type that int8 rows stand for, which their file does not say.</param>
    /// <returns>The weight, which the caller disposes.</returns>
    /// <exception cref="InvalidDataException">The quantization state is missing, incomplete or contradicts itself; the message names file, module, tensor and value.</exception>
    /// <exception cref="KeyNotFoundException">The checkpoint has no such weight.</exception>
    public static QuantizedTensor Read(SafetensorsCheckpoint checkpoint, string weight, Device? device = null, ScalarType rowsDType = ScalarType.Float32)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        ArgumentException.ThrowIfNullOrEmpty(weight);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        BitsandbytesKeys keys = new(weight);
        CheckedTensors tensors = new(checkpoint, keys);
        QuantizedTensor result = TypeOf(checkpoint, tensors, keys) is { } type
            ? FourBitStateReader.Read(tensors, keys, type)
            : Int8RowsState.Read(tensors, keys, rowsDType);
        if (device is null || device.type == TorchSharp.DeviceType.CPU)
        {
            return result;
        }

        using (result)
        {
            return result.To(device);
        }
    }

    /// <summary>The shape of a quantized weight, whose headers are checked.</summary>
    internal static IReadOnlyList<long> ShapeOf(SafetensorsCheckpoint checkpoint, string weight)
    {
        BitsandbytesKeys keys = new(weight);
        CheckedTensors tensors = new(checkpoint, keys);
        return TypeOf(checkpoint, tensors, keys) is { } type ? FourBitStateReader.Describe(tensors, keys, type).Shape : Int8RowsState.Describe(tensors, keys);
    }

    /// <summary>The 4-bit type of a weight; <see langword="null"/> for int8 rows.</summary>
    private static string? TypeOf(SafetensorsCheckpoint checkpoint, CheckedTensors tensors, BitsandbytesKeys keys) => (string[])[.. keys.TypesIn(checkpoint.Names)] switch
    {
        [] when tensors.Has(keys.RowScales) => null,
        [] => throw tensors.Wrong(keys.StateOf("nf4"), "is missing: the weight has no quantization state"),
        [string type] => type,
        string[] types => throw tensors.Wrong(keys.StateOf(types[1]), $"is there beside that of {types[0]}"),
    };
}
