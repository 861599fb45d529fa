using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>Quantizing a weight, and the memory that it takes then.</summary>
internal static class QuantizingCosts
{
    public const string Method = "quantize";
    private const long Size = 4096;

    public static IEnumerable<QuantizationRow> Measure(RunSettings settings) => Names.DTypes.Select(dtype => Measure(settings, dtype));

    private static QuantizationRow Measure(RunSettings settings, ScalarType dtype)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor weight = randn(Size, Size).to(dtype);
        Samples time = Turns.Time(settings, () => QuantizedTensor.Quantize(weight).Dispose())[0];
        return new(Size, Size, 0, 0, 0, Names.Of(dtype), Method, Method, time.Median) { BitsPerParameter = Bits(weight) };
    }

    /// <summary>From the native heap, where it can be read.</summary>
    private static double Bits(Tensor weight)
    {
        if (!NativeHeap.IsReadable)
        {
            using QuantizedTensor alone = QuantizedTensor.Quantize(weight);
            return alone.BitsPerParameter;
        }

        long before = NativeHeap.BytesInUse();
        using QuantizedTensor quantized = QuantizedTensor.Quantize(weight);
        return 8.0 * (NativeHeap.BytesInUse() - before) / weight.numel();
    }
}
