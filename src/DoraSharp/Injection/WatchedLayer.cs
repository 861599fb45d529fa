using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A layer whose weight takes gradients while a probe runs, except while the layer is invoked by <c>call</c>.</summary>
internal sealed class WatchedLayer : IDisposable
{
    private readonly Func<bool, IDisposable?> trace;
    private IDisposable? traced;

    private WatchedLayer(nn.Module layer, Tensor weight, Func<bool, IDisposable?> trace)
    {
        Layer = layer;
        Weight = weight;
        this.trace = trace;
        Show();
    }

    /// <summary>The layer.</summary>
    public nn.Module Layer { get; }

    /// <summary>What gets a gradient if the layer was invoked by <c>forward</c>.</summary>
    public Tensor Weight { get; }

    /// <summary>Watches a layer. It runs on a stand-in of its weight, whose elements are the same; an attention on its own.</summary>
    public static WatchedLayer Of(nn.Module layer, string parameterName)
    {
        if (layer is MultiheadAttention attention)
        {
            return OfAttention(attention);
        }

        Func<Tensor, IDisposable> run = RunningWeight.Of(layer, parameterName);
        Tensor standIn = LayerKinds.DenseWeightOf(layer, parameterName);
        if (layer is Embedding embedding && EmbeddingTraits.Of(embedding).MaxNorm is not null)
        {
            // It writes into the weight that it runs on.
            Tensor copy = standIn.clone().requires_grad_(true);
            return new(layer, copy, shows => run(shows ? copy : copy.detach()));
        }

        standIn.requires_grad = true;
        return new(layer, standIn, shows => shows ? run(standIn) : null);
    }

    /// <summary>From now on a forward of the layer leaves a trace.</summary>
    public void Show() => Switch(true);

    /// <summary>From now on it leaves none.</summary>
    public void Hide() => Switch(false);

    public void Dispose()
    {
        traced?.Dispose();
        traced = null;
    }

    // A native attention runs on its own parameters alone.
    private static WatchedLayer OfAttention(MultiheadAttention layer)
    {
        Parameter weight = layer.get_parameter("out_proj.weight")!;
        bool trains = weight.requires_grad;
        return new(layer, weight, shows =>
        {
            weight.requires_grad = shows;
            return new Scope(() => weight.requires_grad = trains);
        });
    }

    private void Switch(bool shows)
    {
        Dispose();
        using IDisposable recording = enable_grad();
        traced = trace(shows);
    }
}
