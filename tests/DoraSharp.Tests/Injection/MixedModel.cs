using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DoraSharp.Tests.Injection;

/// <summary>A look-up, a linear layer, a transposed one and a convolution with and one without groups: ids [batch, tokens] to [batch, 18, tokens].</summary>
internal sealed class MixedModel : Module<Tensor, Tensor>
{
    private readonly Module<Tensor, Tensor> embedding;
    private readonly Module<Tensor, Tensor> linear;
    private readonly Module<Tensor, Tensor> transposed;
    private readonly Module<Tensor, Tensor> convolution;
    private readonly Module<Tensor, Tensor> grouped;

    public MixedModel(ScalarType dtype = ScalarType.Float64)
        : base(nameof(MixedModel))
    {
        embedding = Embedding(47, 22, dtype: dtype);
        linear = Linear(22, 37, dtype: dtype);
        transposed = new TransposedLinear(37, 29, dtype: dtype);
        convolution = Conv1d(29, 24, 3, padding: 1, dtype: dtype);
        grouped = Conv1d(24, 18, 3, padding: 1, groups: 2, dtype: dtype);
        RegisterComponents();
        using var noGrad = no_grad();
        transposed.get_parameter("weight")!.normal_(0, 0.2);
    }

    /// <summary>The names of all layers but the one with groups.</summary>
    public static TargetModules Plain => ["embedding", "linear", "transposed", "convolution"];

    public static Tensor Ids() => arange(0, 3 * 11).reshape(3, 11).mul(7).remainder(47);

    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        Tensor h = transposed.call(linear.call(embedding.call(input)).tanh()).transpose(1, 2);
        return grouped.call(convolution.call(h).tanh()).MoveToOuterDisposeScope();
    }
}
