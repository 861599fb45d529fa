using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Checkpointing;

/// <summary>A residual block with dropout, whose fields can hold wrappers.</summary>
internal sealed class CheckpointBlock : nn.Module<Tensor, Tensor>
{
    [ComponentName(Name = "up")]
    private readonly nn.Module<Tensor, Tensor> up;
    [ComponentName(Name = "down")]
    private readonly nn.Module<Tensor, Tensor> down;
    [ComponentName(Name = "norm")]
    private readonly LayerNorm norm;
    [ComponentName(Name = "dropout")]
    private readonly Dropout dropout;

    public CheckpointBlock(long width, long hidden, double dropout)
        : base(nameof(CheckpointBlock))
    {
        up = nn.Linear(width, hidden);
        down = nn.Linear(hidden, width);
        norm = nn.LayerNorm(width);
        this.dropout = nn.Dropout(dropout);
        RegisterComponents();
    }

    /// <summary>Called in the middle of each forward.</summary>
    public Action? Midway { get; set; }

    // No dispose scope of its own, as people write.
    public override Tensor forward(Tensor input)
    {
        Tensor hidden = up.call(norm.call(input)).tanh();
        Midway?.Invoke();
        return input + down.call(dropout.call(hidden));
    }
}
