using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>This library's DoRA layer after <see cref="AdaptedLayer.Merge"/>.</summary>
internal sealed class MergedLayer : Method
{
    private readonly LibraryLayer layer;

    public MergedLayer(Problem problem)
    {
        layer = LibraryLayer.Dora(problem);
        layer.Merge();
    }

    public override IReadOnlyList<Parameter> Trained => [];

    public override void Train(bool training) => layer.Train(training);

    public override Tensor Forward(Tensor x) => layer.Forward(x);

    public override void Dispose() => layer.Dispose();
}
