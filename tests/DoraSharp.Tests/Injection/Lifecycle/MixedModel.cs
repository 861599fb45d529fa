using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DoraSharp.Tests.Injection.Lifecycle;

/// <summary>A model with one layer of several kinds, in float64: ids [batch, time] to [batch, time, 9].</summary>
internal sealed class MixedModel : Module<Tensor, Tensor>
{
    public const long Tokens = 19;

    private readonly Module<Tensor, Tensor> embed = Embedding(Tokens, 12);
    private readonly Module<Tensor, Tensor> conv = Conv1d(12, 16, 3, padding: 1L);
    private readonly Module<Tensor, Tensor> up = Linear(16, 20);
    private readonly Module<Tensor, Tensor> norm = LayerNorm(20);
    private readonly Module<Tensor, Tensor> down = Linear(20, 9);

    public MixedModel()
        : base(nameof(MixedModel))
    {
        RegisterComponents();
        this.to(ScalarType.Float64);
    }

    /// <summary>A model with fixed values, and another of the same.</summary>
    public static MixedModel Make()
    {
        manual_seed(401);
        return new();
    }

    public static Tensor Input() => randint(0, Tokens, [4, 6]);

    // A product of a strided input takes another way in libtorch where the weight does not train, and rounds otherwise.
    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        Tensor x = conv.call(embed.call(input).transpose(1, 2)).transpose(1, 2).contiguous();
        return down.call(norm.call(up.call(x).tanh())).MoveToOuterDisposeScope();
    }
}
