using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers;

public sealed class AdaptedEmbeddingTests : IDisposable
{
    private const double MaxNorm = 1.625;

    private static readonly LoraOptions Options = new() { Rank = 3, Alpha = 5, Initialization = LoraInitialization.Random };

    private readonly Tensor ids = tensor(new long[] { 4, 0, 4, 7, 12, 4, 2, 2, 11, 0, 5, 9 }).view(3, 4);

    public static TheoryData<long?, bool, double?, bool> Layers()
    {
        TheoryData<long?, bool, double?, bool> data = [];
        foreach (bool dora in (bool[])[false, true])
        {
            data.Add(null, false, null, dora);
            data.Add(4, false, null, dora);
            data.Add(null, true, null, dora);
            data.Add(2, true, null, dora);
            data.Add(null, false, MaxNorm, dora);
            data.Add(0, true, MaxNorm, dora);
        }

        return data;
    }

    public void Dispose() => ids.Dispose();

    [Theory]
    [MemberData(nameof(Layers))]
    public void ForwardAndBackward_TrainedAdapter_EqualTheDefinition(long? padding, bool byFrequency, double? maxNorm, bool dora)
    {
        using var scope = NewDisposeScope();
        Embedding layer = Layer(padding, byFrequency, maxNorm, ScalarType.Float64);
        Tensor weight = layer.weight!.detach().clone();
        using AdaptedLayer adapted = AdaptedLayer.From(layer, Options with { UseDora = dora });
        Reference.Disturb(adapted.Adapters);
        LoraAdapter adapter = (LoraAdapter)adapted.Adapters["default"];
        ReferenceAdapter expected = Reference.Copy(adapter);
        Tensor dy = randn(3, 4, 6, dtype: ScalarType.Float64);

        Tensor y = adapted.call(ids);
        Tensor yExpected = Define(weight, expected, padding, maxNorm);
        y.backward([dy]);
        yExpected.backward([dy]);

        Reference.RelativeError(y, yExpected).Should().BeLessThan(1e-13);
        using (no_grad())
        {
            Tensor counts = byFrequency ? ids.flatten().bincount(null, 13).clamp_min(1).to(ScalarType.Float64) : ones([13], ScalarType.Float64);
            Reference.RelativeError(adapter.A.grad!, expected.A.grad! / counts).Should().BeLessThan(1e-12);
            if (padding is { } row)
            {
                adapter.A.grad![.., (int)row].abs().max().item<double>().Should().Be(0);
            }
        }

        Reference.RelativeError(adapter.B.grad!, expected.B.grad!).Should().BeLessThan(1e-12);
        if (dora)
        {
            Reference.RelativeError(adapter.Magnitude!.grad!, expected.Magnitude!.grad!).Should().BeLessThan(1e-12);
        }

        Reference.SameBits(layer.weight!, weight).Should().BeTrue("a frozen weight is not written to");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Forward_MaxNormAndFreshOrDisabledAdapter_GivesTheClippedRowsAndKeepsTheWeight(bool dora)
    {
        using var scope = NewDisposeScope();
        using Embedding native = Layer(null, false, MaxNorm, ScalarType.Float32);
        using Embedding layer = Layer(null, false, MaxNorm, ScalarType.Float32);
        Tensor weight = layer.weight!.detach().clone();
        Tensor expected = native.call(ids);
        Reference.SameBits(native.weight!, weight).Should().BeFalse("the native layer clips its weight");
        using AdaptedLayer adapted = AdaptedLayer.From(layer, new() { Rank = 3, UseDora = dora });

        Reference.SameBits(adapted.call(ids), expected).Should().BeTrue();
        adapted.Adapters.Enabled = false;
        Reference.SameBits(adapted.call(ids), expected).Should().BeTrue();
        Reference.SameBits(layer.weight!, weight).Should().BeTrue();
    }

    [Fact]
    public void Merge_MaxNorm_IsRefusedWithTheReason()
    {
        using var scope = NewDisposeScope();
        using AdaptedLayer adapted = AdaptedLayer.From(Layer(null, false, MaxNorm, ScalarType.Float32), Options);
        Tensor weight = adapted.BaseModule.get_parameter("weight")!.detach().clone();
        adapted.Invoking(a => a.Merge()).Should().Throw<InvalidOperationException>().WithMessage("*max_norm*");
        Reference.SameBits(adapted.BaseModule.get_parameter("weight")!, weight).Should().BeTrue();
    }

    [Fact]
    public void From_EmbeddingFromPretrained_IsRefusedWithTheWayOut()
    {
        using var scope = NewDisposeScope();
        using Embedding layer = nn.Embedding_from_pretrained(randn(13, 6));
        FluentActions.Invoking(() => AdaptedLayer.From(layer)).Should().Throw<NotSupportedException>().WithMessage("*Embedding_from_pretrained*nn.Embedding(*");

        // A weight that was set afterwards is registered and used.
        layer.weight = new Parameter(randn(13, 6));
        using AdaptedLayer adapted = AdaptedLayer.From(layer);
        adapted.call(ids).shape.Should().Equal(3, 4, 6);
    }

    [Fact]
    public void From_MovedEmbedding_IsAccepted()
    {
        using var scope = NewDisposeScope();
        using Embedding layer = Layer(4, true, null, ScalarType.Float32);
        layer.to(ScalarType.BFloat16).to(ScalarType.Float64);
        using AdaptedLayer adapted = AdaptedLayer.From(layer, Options);
        adapted.to(ScalarType.Float32);
        Tensor expected = adapted.Adapters.EffectiveWeight().t().index_select(0, ids.flatten()).view(3, 4, 6);
        Reference.RelativeError(adapted.call(ids), expected).Should().BeLessThan(1e-6);
    }

    [Theory]
    [MemberData(nameof(Layers))]
    public void Forward_ManyTimes_KeepsTheNumberOfTensors(long? padding, bool byFrequency, double? maxNorm, bool dora)
    {
        using var scope = NewDisposeScope();
        using AdaptedLayer adapted = AdaptedLayer.From(Layer(padding, byFrequency, maxNorm, ScalarType.Float32), Options with { UseDora = dora });
        long count = 0;
        for (int step = 0; step < 20; step++)
        {
            adapted.call(ids).Dispose();
            count = step == 4 ? LiveTensors.Count : count;
        }

        LiveTensors.Count.Should().Be(count);
    }

    private static Embedding Layer(long? padding, bool byFrequency, double? maxNorm, ScalarType dtype)
    {
        manual_seed(31);
        return nn.Embedding(13, 6, padding, maxNorm, scale_grad_by_freq: byFrequency, dtype: dtype);
    }

    /// <summary>The looked-up rows of the base, clipped, and the update; the norm is that of the weight as it is stored.</summary>
    private Tensor Define(Tensor weight, ReferenceAdapter adapter, long? padding, double? maxNorm)
    {
        Tensor trains = ones([13], ScalarType.Float64);
        if (padding is { } row)
        {
            trains[row] = 0;
        }

        Tensor a = (adapter.A * trains) + (adapter.A.detach() * (1 - trains));
        Tensor lengths = linalg.vector_norm(weight, dims: [1], keepdim: true);
        Tensor clipped = maxNorm is { } length ? weight * (length / (lengths + 1e-7)).clamp_max(1) : weight;
        Tensor v = clipped.t() + (adapter.Scaling * adapter.B.matmul(a));
        if (adapter.Magnitude is { } magnitude)
        {
            Tensor norm = linalg.vector_norm(weight.t() + (adapter.Scaling * adapter.B.matmul(adapter.A)), dims: [1]).detach();
            v = (magnitude / norm).unsqueeze(1) * v;
        }

        return v.t().index_select(0, ids.flatten()).view(3, 4, 6);
    }
}
