using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>Scales in 8 bits. The offset is a mean, whose last bits depend on the order of summation; all else follows from the file's, bit for bit.</summary>
internal static class DoubleQuantizationCheck
{
    private static readonly Tolerance OfOffset = new(1e-6);

    public static void Run(BitsandbytesCase subject)
    {
        subject.Expect.Same("nested_quant_map", CodeMap.DynamicSigned.On(CPU).Levels, subject.Tensors.Read("nested_quant_map"));
        foreach (BitsandbytesEntry entry in subject.Entries)
        {
            QuantizationOptions options = new() { Format = BitsandbytesCase.Format(entry.Fields), BlockSize = entry.BlockSize };
            Tensor source = entry.ReadSource(), offset = entry.Read("nested_offset");
            using (FourBitTensor own = (FourBitTensor)QuantizedTensor.Quantize(source, options))
            {
                subject.Expect.Close(entry.Key("nested_offset"), tensor(new[] { own.Nested!.Offset }), offset, OfOffset);
            }

            using FourBitTensor plain = FourBitTensor.Create(source, options with { DoubleQuantization = false });
            entry.Same("packed", plain.Codes);
            entry.Same("absmax_f32", plain.Scales);

            using FourBitTensor quantized = FourBitTensor.Create(source, options, offset.item<float>());
            entry.Same("absmax_codes", quantized.Scales);
            entry.Same("nested_absmax", quantized.Nested!.Scales);
            entry.Same("absmax_decoded", quantized.DecodedScales());
            entry.Decoded(dtype => quantized.Dequantize(dtype));

            Tensor centred = plain.Scales - offset;
            (Tensor nearest, _) = EightBitCodec.Quantize(centred, CodeMap.DynamicSigned, NestedScales.DefaultBlockSize, binned: false);
            entry.Same("absmax_codes_nearest", nearest);
        }
    }
}
