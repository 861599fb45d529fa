using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Checkpointing;

/// <summary>A residual block with its layers in sealed fields, called or run by forward.</summary>
internal sealed class SealedBlock : nn.Module<Tensor, Tensor>
{
    private readonly Linear up;
    private readonly Linear down;
    private readonly bool calls;

    public SealedBlock(long width, long hidden, bool calls)
        : base(nameof(SealedBlock))
    {
        (up, down, this.calls) = (nn.Linear(width, hidden), nn.Linear(hidden, width), calls);
        RegisterComponents();
    }

    public override Tensor forward(Tensor input) =>
        input + (calls ? down.call(up.call(input).tanh()) : down.forward(up.forward(input).tanh()));
}
