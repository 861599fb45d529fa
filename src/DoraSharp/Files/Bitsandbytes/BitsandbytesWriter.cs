using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Gives quantized weights as the tensors that bitsandbytes and transformers read, byte for byte as they would store them.</summary>
public static class BitsandbytesWriter
{
    /// <summary>The tensors that hold a quantized weight, by their names: for <see cref="SafetensorsWriter"/>.</summary>
    /// <param name="weight">A 4-bit tensor or int8 rows.</param>
    /// <param name="name">The weight's name, such as <c>model.layers.0.mlp.up_proj.weight</c>.</param>
    /// <param name="storage">The type that 4-bit codes are written as, uint8, bfloat16, float16 or float32: <c>bnb_4bit_quant_storage</c>. The bytes are the same.</param>
    /// <returns>New tensors, which the caller disposes or whose dispose scope does.</returns>
    /// <exception cref="NotSupportedException">bitsandbytes has no module with weights of this format.</exception>
    /// <exception cref="ArgumentException">The codes do not fill whole numbers of the storage type.</exception>
    public static IReadOnlyDictionary<string, Tensor> ToTensors(QuantizedTensor weight, string name, ScalarType storage = ScalarType.Byte)
    {
        ArgumentNullException.ThrowIfNull(weight);
        ArgumentException.ThrowIfNullOrEmpty(name);
        using var noGrad = no_grad();
        BitsandbytesKeys keys = new(name);
        return weight switch
        {
            FourBitTensor fourBit => FourBits(fourBit, keys, storage),
            Int8RowsTensor rows => new Dictionary<string, Tensor>
            {
                [keys.Weight] = rows.Codes.clone(),
                [keys.RowScales] = rows.Scales.clone(),
                [keys.RowLayout] = tensor((byte)0),
            },
            _ => throw new NotSupportedException($"'{name}' is {weight.Options.Format}, which no module of bitsandbytes has; dequantize it to write it."),
        };
    }

    private static Dictionary<string, Tensor> FourBits(FourBitTensor weight, BitsandbytesKeys keys, ScalarType storage)
    {
        NestedScales? nested = weight.Nested;
        FourBitState state = new(weight.Options.Format, weight.Options.BlockSize, weight.DType, weight.Shape, nested is null ? null : (nested.BlockSize, nested.Offset));
        Dictionary<string, Tensor> tensors = new()
        {
            [keys.Weight] = Stored(weight.Codes, storage),
            [keys.Scales] = weight.Scales.clone(),
            [keys.Map] = tensor(CodeMap.Of(weight.Options.Format).Levels),
            [keys.StateOf(FourBitState.TypeName(weight.Options.Format))] = tensor(state.ToJson()),
        };
        if (nested is not null)
        {
            tensors[keys.NestedScales] = nested.Scales.clone();
            tensors[keys.NestedMap] = tensor(nested.Levels.Levels);
        }

        return tensors;
    }

    private static Tensor Stored(Tensor codes, ScalarType storage)
    {
        if (storage == ScalarType.Byte)
        {
            return codes.clone();
        }

        int size = storage switch
        {
            ScalarType.BFloat16 or ScalarType.Float16 => 2,
            ScalarType.Float32 => 4,
            _ => throw new ArgumentException($"4-bit codes cannot be stored as {storage}: take Byte, BFloat16, Float16 or Float32.", nameof(storage)),
        };
        if (codes.numel() % size != 0)
        {
            throw new ArgumentException($"{codes.numel()} bytes of codes do not fill whole numbers of {storage}; store them as Byte.", nameof(storage));
        }

        return TensorBytes.Reinterpret(codes, storage, codes.numel() / size, 1);
    }
}
