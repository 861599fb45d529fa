using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>NF4 and FP4: codes, scales, decoded values; the same bytes under another storage type.</summary>
internal static class FourBitCheck
{
    public static void Run(BitsandbytesCase subject)
    {
        foreach (BitsandbytesEntry entry in subject.Entries)
        {
            QuantizationOptions options = new() { Format = BitsandbytesCase.Format(entry.Fields), BlockSize = entry.BlockSize, DoubleQuantization = false };
            using FourBitTensor quantized = (FourBitTensor)QuantizedTensor.Quantize(entry.ReadSource(), options);
            entry.Same("packed", quantized.Codes);
            entry.Same("absmax", quantized.Scales);
            entry.Decoded(dtype => quantized.Dequantize(dtype));
            if (entry.Fields.TryGetProperty("quant_storage", out JsonElement storages))
            {
                foreach (string storage in storages.EnumerateArray().Select(static storage => storage.GetString()!))
                {
                    Stored(subject, entry, quantized, storage);
                }
            }
        }
    }

    private static void Stored(BitsandbytesCase subject, BitsandbytesEntry entry, FourBitTensor quantized, string storage)
    {
        Tensor expected = entry.Read($"packed_as_{storage}");
        Tensor written = BitsandbytesWriter.ToTensors(quantized, "weight", expected.dtype)["weight"];
        subject.Expect.Require(
            written.dtype == expected.dtype && written.shape.SequenceEqual(expected.shape) && written.bytes.SequenceEqual(expected.bytes),
            entry.Key($"packed_as_{storage}"),
            "other bytes");
    }
}
