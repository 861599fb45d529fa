using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>Decoding into a buffer that is kept, beside filling that buffer with a constant: the least that writing it takes.</summary>
internal static class DecodeCosts
{
    public const string Method = "nf4_decode";
    private const long Size = 4096;

    public static IEnumerable<QuantizationRow> Measure(RunSettings settings) => Names.DTypes.Select(dtype => Measure(settings, dtype));

    private static QuantizationRow Measure(RunSettings settings, ScalarType dtype)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using QuantizedTensor weight = QuantizedTensor.Quantize(randn(Size, Size));
        Tensor buffer = empty(Size, Size, dtype: dtype);
        Samples[] times = Turns.Time(settings, () => weight.DequantizeRows(0, Size, buffer), () => buffer.fill_(1));
        return new(Size, Size, 0, 0, 0, Names.Of(dtype), Method, "decode", times[0].Median) { RatioFill = times[1].Median / times[0].Median };
    }
}
