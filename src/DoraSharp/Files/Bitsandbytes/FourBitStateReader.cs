using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Reads the weight of a <c>Linear4bit</c>.</summary>
internal static class FourBitStateReader
{
    private const int NestedLevels = 256;

    public static FourBitTensor Read(CheckedTensors tensors, BitsandbytesKeys keys, string type)
    {
        FourBitState state = Describe(tensors, keys, type);
        CodeMap map = CodeMap.Of(state.Format);
        if (!Values(tensors, keys.Map).SequenceEqual(map.Levels))
        {
            throw tensors.Wrong(keys.Map, $"does not hold the 16 levels of {state.Format}");
        }

        Tensor scales = state.Nested is null ? tensors.ReadScales(keys.Scales) : tensors.Read(keys.Scales);
        Tensor stored = tensors.Read(keys.Weight);
        Tensor codes = stored.dtype == ScalarType.Byte ? stored : TensorBytes.Reinterpret(stored, ScalarType.Byte, (state.Elements + 1) / 2, 1);
        NestedScales? nested = state.Nested is { } found ? ReadNested(tensors, keys, scales, found.BlockSize, found.Offset) : null;
        QuantizationOptions options = new() { Format = state.Format, BlockSize = state.BlockSize, DoubleQuantization = nested is not null };
        return new(codes, scales, nested, state.Shape, state.DType, options);
    }

    /// <summary>Reads the description, and compares all headers with it.</summary>
    public static FourBitState Describe(CheckedTensors tensors, BitsandbytesKeys keys, string type)
    {
        FourBitState state = ReadState(tensors, keys.StateOf(type), type);
        CheckHeaders(tensors, keys, state);
        return state;
    }

    private static FourBitState ReadState(CheckedTensors tensors, string name, string type)
    {
        SafetensorsEntry entry = tensors.Entry(name);
        if (entry.DType != ScalarType.Byte || entry.Shape.Count != 1 || entry.ByteLength > FourBitState.MaxLength)
        {
            throw tensors.Wrong(name, $"is {entry.DType} [{string.Join(", ", entry.Shape)}]; it must be the bytes of a JSON text, at most {FourBitState.MaxLength}");
        }

        using Tensor text = tensors.Read(name);
        try
        {
            return FourBitState.Parse(text.bytes, type);
        }
        catch (InvalidDataException e)
        {
            throw tensors.Wrong(name, e.Message, e);
        }
    }

    private static void CheckHeaders(CheckedTensors tensors, BitsandbytesKeys keys, FourBitState state)
    {
        SafetensorsEntry weight = tensors.Entry(keys.Weight);
        long bytes = (state.Elements + 1) / 2, blocks = BlockSpan.Count(state.Elements, state.BlockSize);
        if (weight.ByteLength != bytes || weight.Shape is not [_, 1]
            || weight.DType is not (ScalarType.Byte or ScalarType.BFloat16 or ScalarType.Float16 or ScalarType.Float32 or ScalarType.Float64))
        {
            throw tensors.Wrong(
                keys.Weight,
                $"is {weight.DType} [{string.Join(", ", weight.Shape)}], {weight.ByteLength} bytes; for shape [{string.Join(", ", state.Shape)}] it must be [{bytes}, 1] as Byte, or {bytes} bytes in one column of a floating-point type");
        }

        tensors.Check(keys.Map, ScalarType.Float32, CodeMap.Of(state.Format).Levels.Length);
        tensors.Check(keys.Scales, state.Nested is null ? ScalarType.Float32 : ScalarType.Byte, blocks);
        if (state.Nested is { } nested)
        {
            tensors.Check(keys.NestedScales, ScalarType.Float32, BlockSpan.Count(blocks, nested.BlockSize));
            tensors.Check(keys.NestedMap, ScalarType.Float32, NestedLevels);
            return;
        }

        foreach (string name in (string[])[keys.NestedScales, keys.NestedMap])
        {
            if (tensors.Has(name))
            {
                throw tensors.Wrong(name, "is there, and the description says nothing of double quantization");
            }
        }
    }

    private static NestedScales ReadNested(CheckedTensors tensors, BitsandbytesKeys keys, Tensor codes, int blockSize, float offset)
    {
        NestedScales nested = new(tensors.ReadScales(keys.NestedScales), ReadNestedMap(tensors, keys.NestedMap), offset, blockSize);
        using Tensor decoded = nested.Decode(codes, 0, codes.numel());
        if (Finite.All(decoded))
        {
            return nested;
        }

        nested.Dispose();
        throw tensors.Wrong(keys.NestedScales, $"and nested_offset {offset} give scales that are not finite");
    }

    /// <summary>The levels of the scales' codes, whose last bits depend on the processor that computed them.</summary>
    private static CodeMap ReadNestedMap(CheckedTensors tensors, string name)
    {
        float[] levels = Values(tensors, name);
        CodeMap known = CodeMap.DynamicSigned;
        return levels.SequenceEqual(known.Levels) ? known
            : levels.Zip(known.Levels).All(static pair => Math.Abs(pair.First - pair.Second) <= 1e-6f) ? CodeMap.Of(levels)
            : throw tensors.Wrong(name, "does not hold the 256 levels of bitsandbytes' dynamic 8-bit type");
    }

    private static float[] Values(CheckedTensors tensors, string name)
    {
        using Tensor tensor = tensors.Read(name);
        return tensor.data<float>().ToArray();
    }
}
