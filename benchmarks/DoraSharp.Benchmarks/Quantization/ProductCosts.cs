using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>A quantized layer's output for few tokens, without gradients, beside that of the dense float32 layer.</summary>
internal static class ProductCosts
{
    public const string Method = "nf4_matvec";
    private const long Size = 2048;

    public static IEnumerable<QuantizationRow> Measure(RunSettings settings) => new long[] { 1, 2, 8, 32 }.Select(tokens => Measure(settings, tokens));

    private static QuantizationRow Measure(RunSettings settings, long tokens)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using Linear dense = nn.Linear(Size, Size, hasBias: false);
        using QuantizedLinear quantized = QuantizedLinear.From(dense);
        Tensor x = randn(tokens, Size);
        Samples[] times = Turns.Time(settings, () => Run(quantized), () => Run(dense));
        return new(Size, Size, tokens, 0, 0, Names.Of(ScalarType.Float32), Method, Names.Of(StepMode.Eval), times[0].Median) { RatioDense = times[0].Median / times[1].Median };

        void Run(nn.Module<Tensor, Tensor> layer)
        {
            using Tensor y = layer.call(x);
        }
    }
}
