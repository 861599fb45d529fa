using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Reads the weight of a <c>Linear8bitLt</c>.</summary>
internal static class Int8RowsState
{
    private const float LargestScale = 65504;

    public static Int8RowsTensor Read(CheckedTensors tensors, BitsandbytesKeys keys, ScalarType dtype)
    {
        IReadOnlyList<long> shape = Describe(tensors, keys);
        if (tensors.Has(keys.RowLayout))
        {
            using Tensor layout = tensors.Read(keys.RowLayout);
            if (layout.item<byte>() is not 0 and byte other)
            {
                throw tensors.Wrong(keys.RowLayout, $"is {other}, a layout of one kind of GPU; supported is 0, rows");
            }
        }

        Tensor scales = tensors.ReadScales(keys.RowScales);
        if (scales.max().item<float>() > LargestScale)
        {
            throw tensors.Wrong(keys.RowScales, $"has a scale beyond {LargestScale}, the largest float16, to which weights are rounded first");
        }

        return new(tensors.Read(keys.Weight), scales, shape, dtype, new() { Format = QuantizationFormat.Int8Rows });
    }

    /// <summary>Compares the headers; gives the weight's shape.</summary>
    public static IReadOnlyList<long> Describe(CheckedTensors tensors, BitsandbytesKeys keys)
    {
        SafetensorsEntry weight = tensors.Entry(keys.Weight);
        if (weight.DType != ScalarType.Int8 || weight.Shape is not [> 0, > 0])
        {
            throw tensors.Wrong(keys.Weight, $"is {weight.DType} [{string.Join(", ", weight.Shape)}]; beside '{keys.RowScales}' it must be Int8 [out, in]");
        }

        tensors.Check(keys.RowScales, ScalarType.Float32, weight.Shape[0]);
        if (tensors.Has(keys.RowLayout))
        {
            tensors.Check(keys.RowLayout, ScalarType.Byte);
        }

        return weight.Shape;
    }
}
