using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>This library's layers over a quantized base layer, through their public API.</summary>
internal sealed class QuantizedAdapter : Method
{
    private readonly QuantizedLinear baseLayer;
    private readonly AdaptedLinear layer;

    private QuantizedAdapter(Problem problem, Func<QuantizedLinear, LoraOptions, AdaptedLinear> wrap)
    {
        using (Linear dense = problem.NewBase())
        {
            baseLayer = QuantizedLinear.From(dense);
        }

        layer = wrap(baseLayer, problem.Options);
        var adapter = (LoraAdapter)layer.Adapters[layer.Adapters.Active[0]];
        Trained = adapter.Magnitude is { } magnitude ? [adapter.A, adapter.B, magnitude] : [adapter.A, adapter.B];
        using var noGrad = no_grad();
        foreach ((Parameter parameter, Tensor value) in Trained.Zip([problem.A, problem.B, problem.Magnitude]))
        {
            parameter.copy_(value);
        }
    }

    public override IReadOnlyList<Parameter> Trained { get; }

    public static QuantizedAdapter Lora(Problem problem) => new(problem, (frozen, options) => LoraLinear.From(frozen, options));

    public static QuantizedAdapter Dora(Problem problem) => new(problem, (frozen, options) => DoraLinear.From(frozen, options));

    public override void Train(bool training) => layer.train(training);

    public override Tensor Forward(Tensor x) => layer.call(x);

    public override void Dispose()
    {
        layer.Dispose();
        baseLayer.Dispose();
    }
}
