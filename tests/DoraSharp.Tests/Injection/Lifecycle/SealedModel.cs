using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DoraSharp.Tests.Injection.Lifecycle;

/// <summary>A layer for each route: one that can be replaced, one sealed and called, one sealed and forwarded.</summary>
internal sealed class SealedModel : Module<Tensor, Tensor>
{
    private readonly Module<Tensor, Tensor> open = Linear(12, 14, dtype: ScalarType.Float64);
    private readonly Linear called = Linear(14, 16, dtype: ScalarType.Float64);
    private readonly Linear forwarded = Linear(16, 10, dtype: ScalarType.Float64);

    public SealedModel()
        : base(nameof(SealedModel)) => RegisterComponents();

    public static SealedModel Make()
    {
        manual_seed(402);
        return new();
    }

    public static Tensor Input() => randn(5, 12, dtype: ScalarType.Float64);

    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        return forwarded.forward(called.call(open.call(input).tanh()).tanh()).MoveToOuterDisposeScope();
    }
}
