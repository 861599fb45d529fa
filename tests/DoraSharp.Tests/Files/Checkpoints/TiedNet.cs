using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Files.Checkpoints;

/// <summary>Two linear layers that hold one weight, behind an embedding; every slot is open.</summary>
internal sealed class TiedNet : nn.Module<Tensor, Tensor>
{
    private const long Width = 40;

    private readonly nn.Module<Tensor, Tensor> tokens;
    private readonly nn.Module<Tensor, Tensor> left;
    private readonly nn.Module<Tensor, Tensor> right;

    public TiedNet(Device? device)
        : base(nameof(TiedNet))
    {
        tokens = nn.Embedding(24, Width, device: device);
        Linear first = nn.Linear(Width, Width, device: device), second = nn.Linear(Width, Width, device: device);
        second.weight = first.weight;
        (left, right) = (first, second);
        RegisterComponents();
    }

    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        return right.call(left.call(tokens.call(input)).tanh()).MoveToOuterDisposeScope();
    }
}
