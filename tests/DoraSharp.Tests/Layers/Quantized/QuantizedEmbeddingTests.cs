using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Quantized;

public class QuantizedEmbeddingTests
{
    [Fact]
    public void Forward_Tokens_GivesTheirDecodedRows()
    {
        using var scope = NewDisposeScope();
        manual_seed(41);
        using Embedding dense = nn.Embedding(50, 37);
        using QuantizedEmbedding layer = QuantizedEmbedding.From(dense, computeType: ScalarType.BFloat16);
        Tensor ids = tensor(new long[,] { { 3, 49, 3 }, { 0, 7, 49 } });
        Tensor rows = layer.call(ids);
        rows.shape.Should().Equal(2, 3, 37);
        Reference.SameBits(rows, layer.Weight.Dequantize(ScalarType.BFloat16).index_select(0, ids.reshape(-1)).reshape(2, 3, 37)).Should().BeTrue();
        Reference.SameBits(layer.Dequantize().call(ids), rows).Should().BeTrue();
        layer.Invoking(l => l.call(tensor(new long[] { 50 }))).Should().Throw<ArgumentOutOfRangeException>().WithMessage("*0 to 49*");
        layer.Invoking(l => l.call(tensor(new[] { 3.7f }))).Should().Throw<ArgumentException>().WithMessage("*integers*Float32*");
        layer.Invoking(l => l.call(tensor(new long[] { -1 }))).Should().Throw<ArgumentOutOfRangeException>();
    }

    [Fact]
    public void From_WithMaxNorm_IsRefused()
    {
        using Embedding dense = nn.Embedding(5, 4, max_norm: 1);
        FluentActions.Invoking(() => QuantizedEmbedding.From(dense)).Should().Throw<NotSupportedException>().WithMessage("*max_norm*");
        using Sequential model = nn.Sequential(("embed", dense), ("fc", nn.Linear(4, 4)));
        model.Invoking(m => m.Quantize(new() { TargetModules = ["embed"] })).Should().Throw<ArgumentException>().WithMessage("*embed*max_norm*Nothing was changed*");
    }

    [Fact]
    public void Quantize_NamedEmbedding_IsAdaptedAndMergedLikeADenseOne()
    {
        using var scope = NewDisposeScope();
        manual_seed(42);
        using Sequential model = nn.Sequential(("embed", nn.Embedding(50, 32)), ("fc", nn.Linear(32, 5)));
        QuantizationReport report = model.Quantize(new() { TargetModules = ["embed", "fc"] });
        report.Sites.Select(site => (site.Path, site.OutFeatures, site.InFeatures)).Should().Equal(("embed", 50, 32), ("fc", 5, 32));
        Tensor ids = randint(0, 50, [3, 6], ScalarType.Int64);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 4, UseDora = true, TargetModules = ["embed", "fc"], Initialization = LoraInitialization.Random });
        Tensor y = model.call(ids);
        y.sum().backward();
        adapted.TrainableParameters().Should().HaveCount(6).And.OnlyContain(parameter => parameter.grad! is object);
        adapted.Merge(requantize: true).Layers.Should().OnlyContain(layer => layer.IsQuantized && layer.RelativeError > 0.03);
        adapted.Unmerge();
        Reference.SameBits(model.call(ids), y).Should().BeTrue();
        adapted.MergeAndUnload().Layers.Should().OnlyContain(layer => !layer.IsQuantized && layer.RelativeError < 1e-7);
        model[0].Should().BeOfType<Embedding>();
        Reference.RelativeError(model.call(ids), y).Should().BeLessThan(1e-5);
    }
}
