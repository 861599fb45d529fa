using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>The floor: the frozen base layer alone.</summary>
internal sealed class FrozenBase(Problem problem) : Method
{
    private readonly Linear layer = problem.NewBase();

    public override IReadOnlyList<Parameter> Trained => [];

    public override void Train(bool training) => layer.train(training);

    public override Tensor Forward(Tensor x) => layer.call(x);

    public override void Dispose() => layer.Dispose();
}
