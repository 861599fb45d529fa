using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Contract;

/// <summary>y = x Wᵀ where W is quantized; it is a matrix of an odd number of elements, whose blocks straddle rows.</summary>
internal sealed class QuantizedLinearCase(string name, QuantizationOptions options, bool hasBias, long[] batch) : LayerCase(name)
{
    private const long In = 23;
    private const long Out = 17;

    public override nn.Module<Tensor, Tensor> Make()
    {
        using Linear layer = nn.Linear(In, Out, hasBias);
        return QuantizedLinear.From(layer, options);
    }

    public override Tensor Input() => randn([.. batch, In]);

    public override Tensor MatrixOf(nn.Module layer) => ((QuantizedLinear)layer).Weight.Dequantize(ScalarType.Float64);

    public override Tensor Matrix(Tensor stored) => stored;

    public override Tensor Product(Tensor x, Tensor matrix) => x.matmul(matrix.t());
}
