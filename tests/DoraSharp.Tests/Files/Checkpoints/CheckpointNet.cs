using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Files.Checkpoints;

/// <summary>Layers of all sorts that a checkpoint fills: an embedding, open and sealed slots, a list, a norm, a buffer, an output layer.</summary>
internal sealed class CheckpointNet : nn.Module<Tensor, Tensor>
{
    private readonly Embedding tokens;
    private readonly ModuleList<nn.Module<Tensor, Tensor>> layers;
    private readonly LayerNorm norm;
    private readonly Linear? closed;
    private readonly nn.Module<Tensor, Tensor> lm_head;
    [ComponentName(Name = "scale")]
    private readonly Tensor scale;

    public CheckpointNet(long width, int depth, Device? device, bool closes = false)
        : base(nameof(CheckpointNet))
    {
        tokens = nn.Embedding(11, width, device: device);
        layers = nn.ModuleList([.. Enumerable.Range(0, depth).Select(_ => (nn.Module<Tensor, Tensor>)nn.Linear(width, width, device: device))]);
        norm = nn.LayerNorm(width, device: device);
        closed = closes ? nn.Linear(width, width, device: device) : null;
        lm_head = nn.Linear(width, 7, device: device);
        scale = ones(1, device: device).DetachFromDisposeScope();
        RegisterComponents();
    }

    public IReadOnlyList<nn.Module<Tensor, Tensor>> Layers => [.. layers];

    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        Tensor x = tokens.call(input);
        foreach (nn.Module<Tensor, Tensor> layer in layers)
        {
            x = layer.call(x).tanh();
        }

        x = closed is null ? x : closed.call(x);
        return (lm_head.call(norm.call(x)) * scale).MoveToOuterDisposeScope();
    }
}
