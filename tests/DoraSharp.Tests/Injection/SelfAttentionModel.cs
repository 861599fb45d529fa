using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DoraSharp.Tests.Injection;

/// <summary>Self-attention: x [length, samples, 24] to the same.</summary>
internal sealed class SelfAttentionModel : Module<Tensor, Tensor>
{
    private readonly Module<Tensor, Tensor, Tensor, Tensor?, bool, Tensor?, Tuple<Tensor, Tensor>> attention;

    public SelfAttentionModel()
        : base(nameof(SelfAttentionModel))
    {
        attention = MultiheadAttention(24, 3);
        RegisterComponents();
        this.to(ScalarType.Float64);
    }

    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        return attention.call(input, input, input, null, false, null).Item1.MoveToOuterDisposeScope();
    }
}
