using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>A frozen layer with another library's adapter.</summary>
internal sealed class PeerLayer : Method
{
    private readonly Linear frozen;
    private readonly PeerAdapter adapter;

    public PeerLayer(Problem problem, Func<Linear, AdapterValues, PeerAdapter> adapt)
    {
        frozen = problem.NewBase();
        adapter = adapt(frozen, problem.Values);
    }

    public override IReadOnlyList<Parameter> Trained => adapter.Trained;

    public override void Train(bool training) => adapter.IsTraining = training;

    public override Tensor Forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        return adapter.Adapt(frozen.call(x), x).MoveToOuterDisposeScope();
    }

    public override void Dispose()
    {
        adapter.Dispose();
        frozen.Dispose();
    }
}
