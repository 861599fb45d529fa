using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>Int8 rows. LLM.int8's product of rounded inputs is not offered: the library computes in floating point, as the reference does in training.</summary>
internal static class Int8Check
{
    private static readonly Tolerance OfTraining = new(1e-5);

    private static readonly string[] RoundedInputs = ["eval_y", "x_int8", "x_absmax", "x_outlier_columns"];

    public static void Run(BitsandbytesCase subject)
    {
        foreach (BitsandbytesEntry entry in subject.Entries)
        {
            using var quantized = (Int8RowsTensor)QuantizedTensor.Quantize(entry.Read("source"), new() { Format = QuantizationFormat.Int8Rows });
            entry.Same("state.weight", quantized.Codes);
            entry.Same("state.SCB", quantized.Scales);
            entry.Decoded(dtype => quantized.Dequantize(dtype));
            foreach ((string name, Tensor value) in BitsandbytesWriter.ToTensors(quantized, "weight"))
            {
                entry.Same($"state.{name}", value);
            }

            Forward(subject, entry, quantized);
            foreach (string part in RoundedInputs)
            {
                subject.Ignore(entry.Key(part));
            }
        }
    }

    private static void Forward(BitsandbytesCase subject, BitsandbytesEntry entry, Int8RowsTensor weight)
    {
        bool hasBias = entry.Fields.GetProperty("bias").GetBoolean();
        subject.Expect.Require(hasBias == entry.Has("state.bias"), entry.Key("state.bias"), "is there or missing against what the case says");
        using QuantizedLinear layer = new(weight.Clone(), hasBias ? entry.Read("state.bias") : null);
        Tensor x = entry.Read("x").requires_grad_(true);
        Tensor y = layer.call(x);
        y.backward([entry.Read("dy")]);
        subject.Expect.Close(entry.Key("train_y"), y, entry.Read("train_y"), OfTraining);
        subject.Expect.Close(entry.Key("train_dx"), x.grad, entry.Read("train_dx"), OfTraining);
    }
}
