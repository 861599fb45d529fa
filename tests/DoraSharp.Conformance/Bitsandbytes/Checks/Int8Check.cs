namespace DoraSharp.Conformance;

/// <summary>Int8 rows. LLM.int8's product of rounded inputs is not offered: the library computes in floating point, as the reference does in training.</summary>
internal static class Int8Check
{
    private static readonly string[] RoundedInputs = ["eval_y", "x_int8", "x_absmax", "x_outlier_columns"];

    public static void Run(BitsandbytesCase subject)
    {
        foreach (BitsandbytesEntry entry in subject.Entries)
        {
            using var quantized = (Int8RowsTensor)QuantizedTensor.Quantize(entry.Read("source"), new() { Format = QuantizationFormat.Int8Rows });
            entry.Same("state.weight", quantized.Codes);
            entry.Same("state.SCB", quantized.Scales);
            entry.Decoded(dtype => quantized.Dequantize(dtype));
            foreach (string part in RoundedInputs)
            {
                subject.Ignore(entry.Key(part));
            }
        }
    }
}
