using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What a quantized weight consists of, as a layer registers it under bitsandbytes' names, and as parts of another.</summary>
internal static class QuantizedParts
{
    /// <summary>Double quantization's offset, which bitsandbytes writes into a text.</summary>
    public const string NameOfOffset = "weight.nested_offset";

    /// <summary>The tensors besides the codes. They stay the quantized weight's.</summary>
    public static IEnumerable<(string Name, Tensor Buffer)> Buffers(QuantizedTensor weight) => weight switch
    {
        FourBitTensor { Nested: { } nested } fourBit => [("weight.absmax", fourBit.Scales), ("weight.nested_absmax", nested.Scales)],
        FourBitTensor fourBit => [("weight.absmax", fourBit.Scales)],
        Blockwise8Tensor blocks => [("weight.absmax", blocks.Scales)],
        Int8RowsTensor rows => [("SCB", rows.Scales)],
        _ => throw new NotSupportedException($"A {weight.GetType().Name} has no state of its own."),
    };

    /// <summary>The same weight, of the same tensors, with another offset of its scales.</summary>
    public static FourBitTensor WithOffset(FourBitTensor weight, float offset)
    {
        NestedScales nested = weight.Nested!;
        return new(weight.Codes, weight.Scales, new NestedScales(nested.Scales, nested.Levels, offset, nested.BlockSize), weight.Shape, weight.DType, weight.Options);
    }

    /// <summary>The same weight, of the same tensors, as that of a tensor of another dtype.</summary>
    public static QuantizedTensor WithType(QuantizedTensor weight, ScalarType dtype) => weight switch
    {
        FourBitTensor fourBit => new FourBitTensor(fourBit.Codes, fourBit.Scales, fourBit.Nested, fourBit.Shape, dtype, fourBit.Options),
        Blockwise8Tensor blocks => new Blockwise8Tensor(blocks.Codes, blocks.Scales, blocks.Shape, dtype, blocks.Options),
        Int8RowsTensor rows => new Int8RowsTensor(rows.Codes, rows.Scales, rows.Shape, dtype, rows.Options),
        _ => throw new NotSupportedException($"A {weight.GetType().Name} cannot be made of the parts of another."),
    };
}
