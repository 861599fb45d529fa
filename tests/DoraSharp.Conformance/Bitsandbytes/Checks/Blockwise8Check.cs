using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>Blocks of 8-bit codes, by both rules, for any block size; and the library's type, which takes the nearest code.</summary>
internal static class Blockwise8Check
{
    public static void Run(BitsandbytesCase subject)
    {
        Tensor levels = subject.Tensors.Read("code");
        CodeMap map = levels[0].item<float>() < 0 ? CodeMap.DynamicSigned : CodeMap.DynamicUnsigned;
        subject.Expect.Same("code", map.On(CPU).Levels, levels);
        foreach (BitsandbytesEntry entry in subject.Entries)
        {
            Tensor source = entry.ReadSource();
            (Tensor codes, Tensor scales) = EightBitCodec.Quantize(source, map, entry.BlockSize, binned: true);
            (Tensor nearest, _) = EightBitCodec.Quantize(source, map, entry.BlockSize, binned: false);
            entry.Same("codes", codes);
            entry.Same("codes_nearest", nearest);
            entry.Same("absmax", scales);
            Tensor decoded = EightBitCodec.Dequantize(codes, scales, map, entry.BlockSize, 0, source.numel()).view(source.shape);
            entry.Decoded(dtype => decoded.to(dtype));
            if (map == CodeMap.DynamicSigned && QuantizationOptions.IsBlockSize(entry.BlockSize))
            {
                using Blockwise8Tensor quantized = (Blockwise8Tensor)QuantizedTensor.Quantize(source, new() { Format = QuantizationFormat.Blockwise8, BlockSize = entry.BlockSize });
                entry.Same("codes_nearest", quantized.Codes);
                entry.Same("absmax", quantized.Scales);
            }
        }
    }
}
