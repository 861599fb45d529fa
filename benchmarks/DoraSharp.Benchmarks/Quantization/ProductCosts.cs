using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>A quantized layer's output for few tokens, without gradients, beside that of the dense float32 layer.</summary>
/// <remarks>
/// Tokens pass through as many layers as do not fit into any cache, as they do when a model generates text: a weight that is multiplied again at
/// once would come from a cache where it is small enough, and say nothing of that. Times are per layer.
/// </remarks>
internal static class ProductCosts
{
    public const string Method = "nf4_matvec";
    private const long Size = 2048;
    private const int Layers = 16;

    public static IEnumerable<QuantizationRow> Measure(RunSettings settings)
    {
        using var noGrad = no_grad();
        Linear[] dense = [.. Enumerable.Range(0, Layers).Select(_ => nn.Linear(Size, Size, hasBias: false))];
        QuantizedLinear[] quantized = Array.ConvertAll(dense, layer => QuantizedLinear.From(layer));
        try
        {
            return [.. new long[] { 1, 2, 8, 32 }.Select(tokens => Measure(settings, tokens, quantized, dense))];
        }
        finally
        {
            Array.ForEach(dense, static layer => layer.Dispose());
            Array.ForEach(quantized, static layer => layer.Dispose());
        }
    }

    private static QuantizationRow Measure(RunSettings settings, long tokens, QuantizedLinear[] quantized, Linear[] dense)
    {
        using var scope = NewDisposeScope();
        Tensor x = randn(tokens, Size);
        Samples[] times = Turns.Time(settings, () => Run(quantized), () => Run(dense));
        return new(Size, Size, tokens, 0, 0, Names.Of(ScalarType.Float32), Method, Names.Of(StepMode.Eval), times[0].Median / Layers) { RatioDense = times[0].Median / times[1].Median };

        void Run(nn.Module<Tensor, Tensor>[] layers)
        {
            using var step = NewDisposeScope();
            Tensor y = x;
            foreach (nn.Module<Tensor, Tensor> layer in layers)
            {
                y = layer.call(y);
            }
        }
    }
}
