using System.Text.Json;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Native;

public sealed class EmbeddingLookupTests : IDisposable
{
    private readonly Tensor ids = tensor(new long[] { 4, 0, 4, 7, 12, 4, 2, 2, 11, 0, 5, 9 }).view(3, 4);

    public void Dispose() => ids.Dispose();

    [Theory]
    [InlineData(1.5, 2)]
    [InlineData(4.5, 1)]
    [InlineData(1.3, double.PositiveInfinity)]
    [InlineData(1.1, 3.5)]
    public void Base_MaxNorm_GivesTheNativeRowsAndKeepsTheWeight(double maxNorm, double normType)
    {
        using var scope = NewDisposeScope();
        foreach ((ScalarType dtype, double tolerance) in new[] { (ScalarType.Float64, 1e-15), (ScalarType.Float32, 2e-7), (ScalarType.BFloat16, 4e-3), (ScalarType.Float16, 5e-4) })
        {
            using Embedding layer = nn.Embedding(13, 6, max_norm: maxNorm, norm_type: normType, dtype: dtype);
            using EmbeddingLookup lookup = new(13, EmbeddingTraits.Of(layer));
            Tensor weight = Normal([13, 6], 5).to(dtype);
            Tensor untouched = weight.clone();

            Tensor actual = lookup.Base(ids, weight);

            Reference.SameBits(weight, untouched).Should().BeTrue();
            layer.weight = new Parameter(weight.clone());
            Tensor expected = layer.forward(ids);
            actual.dtype.Should().Be(dtype);
            actual.shape.Should().Equal(3, 4, 6);
            Reference.RelativeError(actual, expected).Should().BeLessThan(tolerance);
            Reference.RelativeError(actual, untouched.index_select(0, ids.view(-1)).view(3, 4, 6)).Should().BeGreaterThan(0.05, "some rows must have been clipped");
            Tensor kept = linalg.vector_norm(untouched, normType, dims: [1]).le(maxNorm * 0.99).index_select(0, ids.view(-1)).view(3, 4);
            kept.any().item<bool>().Should().BeTrue();
            Reference.SameBits(actual[kept], untouched.index_select(0, ids.view(-1)).view(3, 4, 6)[kept]).Should().BeTrue("short rows keep their bits");
        }
    }

    [Theory]
    [InlineData(null, false)]
    [InlineData(4L, false)]
    [InlineData(null, true)]
    [InlineData(2L, true)]
    public void BaseAndLowRank_PaddingAndFrequency_GiveTheNativeGradients(long? padding, bool byFrequency)
    {
        using var scope = NewDisposeScope();
        using Embedding layer = nn.Embedding(13, 6, padding, scale_grad_by_freq: byFrequency, dtype: ScalarType.Float64);
        using EmbeddingLookup lookup = new(13, EmbeddingTraits.Of(layer));
        Tensor values = Normal([13, 6], 6);
        Tensor dy = Normal([3, 4, 6], 7);
        layer.weight = new Parameter(values.clone());
        Tensor expected = layer.forward(ids);
        expected.backward([dy]);
        Tensor expectedGradient = layer.get_parameter("weight")!.grad!;

        Tensor weight = Reference.Leaf(values);
        Tensor actual = lookup.Base(ids, weight);
        actual.backward([dy]);
        Reference.SameBits(actual, expected).Should().BeTrue();
        Reference.SameBits(weight.grad!, expectedGradient).Should().BeTrue();

        Tensor a = Reference.Leaf(values.t().contiguous());
        Tensor low = lookup.LowRank(ids.to(ScalarType.Int32), a);
        low.backward([dy]);
        Reference.SameBits(low, expected).Should().BeTrue();
        Reference.RelativeError(a.grad!, expectedGradient.t()).Should().Be(0);
    }

    [Fact]
    public void LowRank_MaxNorm_ClipsNothing()
    {
        using var scope = NewDisposeScope();
        using EmbeddingLookup lookup = new(13, new(null, 0.01, 2, false, false));
        Tensor a = Normal([3, 13], 8);
        Tensor untouched = a.clone();
        Reference.SameBits(lookup.LowRank(ids, a), untouched.t().contiguous().index_select(0, ids.view(-1)).view(3, 4, 3)).Should().BeTrue();
        Reference.SameBits(a, untouched).Should().BeTrue();
    }

    [Fact]
    public void Base_MaxNormOfTrainedWeight_GivesTheGradientOfAConstantFactor()
    {
        using var scope = NewDisposeScope();
        using EmbeddingLookup lookup = new(13, new(null, 1.5, 2, false, false));
        Tensor weight = Reference.Leaf(Normal([13, 6], 9));
        Tensor dy = Normal([3, 4, 6], 10);
        lookup.Base(ids, weight).backward([dy]);

        Tensor factors = (1.5 / (linalg.vector_norm(weight.detach(), dims: [1], keepdim: true) + 1e-7)).clamp(max: 1);
        Tensor expected = zeros_like(weight.detach()).index_add_(0, ids.view(-1), dy.view(-1, 6), 1) * factors;
        Reference.RelativeError(weight.grad!, expected).Should().BeLessThan(1e-14);
    }

    [Fact]
    public void Lookup_InScopeAndInTraining_LeavesNoTensorsAndDrawsNothing()
    {
        using Tensor random = torch.random.get_rng_state();
        using Tensor weight = Normal([13, 6], 11).requires_grad_(true);
        using Tensor a = Normal([2, 13], 12).requires_grad_(true);
        using EmbeddingLookup lookup = MadeInAScope(new(3, 1.2, 2, true, false));
        Step();
        long before = LiveTensors.Count;
        for (int i = 0; i < 10; i++)
        {
            Step();
        }

        LiveTensors.Count.Should().Be(before);
        using Tensor now = torch.random.get_rng_state();
        Reference.SameBits(now, random).Should().BeTrue();

        void Step()
        {
            using Tensor rows = lookup.Base(ids, weight);
            using Tensor low = lookup.LowRank(ids, a);
            using Tensor loss = rows.sum();
            using Tensor other = low.sum();
            loss.backward();
            other.backward();
        }

        static EmbeddingLookup MadeInAScope(EmbeddingTraits traits)
        {
            using var scope = NewDisposeScope();
            return new(13, traits);
        }
    }

    [Theory]
    [InlineData("emb_lora")]
    [InlineData("emb_lora_padding")]
    [InlineData("emb_lora_1d_scale_grad_by_freq")]
    [InlineData("emb_lora_max_norm")]
    public void BaseAndLowRank_GoldenCase_GivePeftsNumbers(string name)
    {
        using var scope = NewDisposeScope();
        string folder = SharedFolder.Require("fixtures", "peft", name);
        using JsonDocument description = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "case.json")));
        JsonElement args = description.RootElement.GetProperty("model").GetProperty("modules")[0].GetProperty("args");
        double scaling = description.RootElement.GetProperty("layers").GetProperty("emb").GetProperty("default").GetProperty("scaling").GetDouble();
        using SafetensorsReader io = SafetensorsReader.Open(Path.Combine(folder, "io.safetensors"));
        using SafetensorsReader weights = SafetensorsReader.Open(Path.Combine(folder, "base.safetensors"));
        using SafetensorsReader adapter = SafetensorsReader.Open(Path.Combine(folder, "default", "adapter_model.safetensors"));
        using Embedding layer = nn.Embedding(
            args.GetProperty("num_embeddings").GetInt64(),
            args.GetProperty("embedding_dim").GetInt64(),
            args.TryGetProperty("padding_idx", out JsonElement padding) ? padding.GetInt64() : null,
            args.TryGetProperty("max_norm", out JsonElement maxNorm) ? maxNorm.GetDouble() : null,
            scale_grad_by_freq: args.TryGetProperty("scale_grad_by_freq", out JsonElement frequency) && frequency.GetBoolean());
        Tensor w = weights.Read("emb.weight");
        Tensor a = adapter.Read("base_model.model.emb.lora_embedding_A").requires_grad_(true);
        Tensor b = adapter.Read("base_model.model.emb.lora_embedding_B").requires_grad_(true);
        using EmbeddingLookup lookup = new(w.shape[0], EmbeddingTraits.Of(layer));

        Tensor rows = lookup.Base(io.Read("x"), w);
        Tensor y = rows + (scaling * lookup.LowRank(io.Read("x"), a).matmul(b.t()));

        Reference.MaxRelativeError(rows, io.Read("y.base")).Should().BeLessThan(1e-6);
        Reference.MaxRelativeError(y, io.Read("y")).Should().BeLessThan(2e-6);
        if (io.TryGetEntry("dy", out _))
        {
            y.backward([io.Read("dy")]);
            Reference.MaxRelativeError(a.grad!, io.Read("grad.emb.lora_embedding_A")).Should().BeLessThan(2e-6);
            Reference.MaxRelativeError(b.grad!, io.Read("grad.emb.lora_embedding_B")).Should().BeLessThan(2e-6);
        }
    }

    private static Tensor Normal(long[] shape, ulong seed)
    {
        using Generator generator = new(seed);
        return randn(shape, ScalarType.Float64, generator: generator);
    }
}
