using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Contract;

/// <summary>A look-up as a product with one-hot rows, in a weight that may be quantized.</summary>
internal sealed class EmbeddingCase(string name, long[] shape, ScalarType ids = ScalarType.Int64, QuantizationOptions? options = null) : LayerCase(name)
{
    private const long Rows = 11;

    public override bool TakesIds => true;

    public override nn.Module<Tensor, Tensor> Make()
    {
        Embedding embedding = nn.Embedding(Rows, 7);
        if (options is null)
        {
            return embedding;
        }

        using (embedding)
        {
            return QuantizedEmbedding.From(embedding, options);
        }
    }

    public override Tensor MatrixOf(nn.Module layer) => layer is QuantizedEmbedding quantized ? quantized.Weight.Dequantize(ScalarType.Float64).t() : base.MatrixOf(layer);

    public override Tensor Input() => randint(0, Rows, shape).to(ids);

    public override Tensor Matrix(Tensor stored) => stored.t();

    public override Tensor Product(Tensor x, Tensor matrix) =>
        nn.functional.one_hot(x.to(ScalarType.Int64), Rows).to(ScalarType.Float64).matmul(matrix.t());

    public override Tensor DroppedProduct(Tensor x, Tensor matrix, Func<Tensor, Tensor> mask, double p)
    {
        Tensor kept = mask(ones(x.numel(), 1, dtype: ScalarType.Float64));
        return Product(x, matrix) * (kept / (1 - p)).reshape([.. x.shape, 1]);
    }
}
