using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>This library's layers, through their public API.</summary>
internal sealed class LibraryLayer : Method
{
    private readonly Linear baseLayer;
    private readonly AdaptedLinear layer;

    private LibraryLayer(Problem problem, Func<Linear, LoraOptions, AdaptedLinear> wrap)
    {
        baseLayer = problem.NewBase();
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

    public static LibraryLayer Lora(Problem problem) => new(problem, LoraLinear.From);

    public static LibraryLayer Dora(Problem problem) => new(problem, DoraLinear.From);

    public override void Train(bool training) => layer.train(training);

    public override Tensor Forward(Tensor x) => layer.call(x);

    /// <summary>Folds the adapter into the layer's own copy of the frozen weight.</summary>
    public void Merge() => layer.Merge();

    public override void Dispose()
    {
        layer.Dispose();
        baseLayer.Dispose();
    }
}
