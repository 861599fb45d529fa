using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A layer whose weight takes gradients while a probe runs, except while the layer is invoked by <c>call</c>.</summary>
internal sealed class WatchedLayer : IDisposable
{
    private readonly Func<IDisposable> show;
    private IDisposable? shown;

    private WatchedLayer(nn.Module layer, Tensor weight, Func<IDisposable> show)
    {
        Layer = layer;
        Weight = weight;
        this.show = show;
        Show();
    }

    /// <summary>The layer.</summary>
    public nn.Module Layer { get; }

    /// <summary>What gets a gradient if the layer was invoked by <c>forward</c>.</summary>
    public Tensor Weight { get; }

    /// <summary>Watches a layer, whose own weight stays as it is: it runs on a stand-in with the same elements.</summary>
    public static WatchedLayer Of(nn.Module layer, string parameterName)
    {
        if (layer is MultiheadAttention attention)
        {
            return OfAttention(attention);
        }

        // An embedding with a max norm writes into the weight that it runs on.
        Tensor own = layer.get_parameter(parameterName)!.detach();
        Tensor standIn = layer is Embedding embedding && EmbeddingTraits.Of(embedding).MaxNorm is not null ? own.clone() : own;
        standIn.requires_grad = true;
        Func<Tensor, IDisposable> run = RunningWeight.Of(layer, parameterName);
        return new(layer, standIn, () => run(standIn));
    }

    /// <summary>From now on a forward of the layer leaves a trace.</summary>
    public void Show()
    {
        using IDisposable recording = enable_grad();
        shown ??= show();
    }

    /// <summary>From now on it leaves none.</summary>
    public void Hide()
    {
        shown?.Dispose();
        shown = null;
    }

    public void Dispose() => Hide();

    // A native attention runs on its own parameters alone.
    private static WatchedLayer OfAttention(MultiheadAttention layer)
    {
        Parameter weight = layer.get_parameter("out_proj.weight")!;
        return new(layer, weight, () =>
        {
            bool trains = weight.requires_grad;
            weight.requires_grad = true;
            return new Scope(() => weight.requires_grad = trains);
        });
    }
}
