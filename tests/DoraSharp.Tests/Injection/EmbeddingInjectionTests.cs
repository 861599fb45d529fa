using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection;

public class EmbeddingInjectionTests
{
    public static TheoryData<bool, bool, bool> Ways()
    {
        TheoryData<bool, bool, bool> data = [];
        foreach (int way in Enumerable.Range(0, 8))
        {
            data.Add((way & 1) > 0, (way & 2) > 0, (way & 4) > 0);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public void Inject_SealedEmbedding_GivesOutputsAndGradientsOfTheDefinition(bool calls, bool dora, bool padded)
    {
        using var scope = NewDisposeScope();
        using SealedEmbedding model = Make(calls, padding: padded ? 4 : null);
        Tensor ids = Ids();
        Tensor plain = model.call(ids);
        Tensor weight = model.Weight.detach().clone();
        using AdaptedModel adapted = Inject(model, ids, dora);
        adapted.Report.Sites.Should().ContainSingle().Which.Route.Should().Be(calls ? InjectionRoute.Hook : InjectionRoute.SubstituteWeight);
        Reference.RelativeError(model.call(ids), plain).Should().BeLessThan(1e-14);
        model.state_dict().Keys.Should().Contain("table.weight");
        LoraAdapter adapter = (LoraAdapter)adapted.Layers[0].Value["default"];
        using (no_grad())
        {
            adapter.A.copy_(randn_like(adapter.A));
            adapter.Magnitude?.mul_(1.2);
        }

        ReferenceAdapter copy = Reference.Copy(adapter);
        Tensor expected = Reference.EffectiveWeight(weight.t(), copy).t().index_select(0, ids.flatten()).view(3, 4, 6).tanh();
        Tensor actual = model.call(ids);
        actual.sum().backward();
        expected.sum().backward();

        Reference.RelativeError(actual, expected).Should().BeLessThan(1e-13);
        using (no_grad())
        {
            if (padded)
            {
                copy.A.grad![.., 4].zero_();
            }
        }

        Reference.RelativeError(adapter.A.grad!, copy.A.grad!).Should().BeLessThan(1e-12);
        if (!padded || calls)
        {
            Reference.RelativeError(adapter.B.grad!, copy.B.grad!).Should().BeLessThan(1e-12);
        }

        adapted.Dispose();
        Reference.SameBits(model.call(ids), plain).Should().BeTrue();
        Reference.SameBits(model.Weight, weight).Should().BeTrue();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Inject_SealedEmbeddingWithMaxNorm_ClipsWhatItLooksUpAndNothingElse(bool dora)
    {
        using var scope = NewDisposeScope();
        using SealedEmbedding native = Make(calls: true, maxNorm: 1.625);
        using SealedEmbedding model = Make(calls: true, maxNorm: 1.625);
        Tensor ids = Ids();
        Tensor weight = model.Weight.detach().clone();
        using AdaptedModel adapted = Inject(model, ids, dora);

        Reference.RelativeError(model.call(ids), native.call(ids)).Should().BeLessThan(1e-14);
        Tensor clipped = native.Weight.detach();
        LoraAdapter adapter = (LoraAdapter)adapted.Layers[0].Value["default"];
        using (no_grad())
        {
            adapter.A.copy_(randn_like(adapter.A));
        }

        Tensor update = adapter.Scaling * adapter.B.matmul(adapter.A);
        Tensor gain = dora ? adapter.Magnitude! / linalg.vector_norm(weight.t() + update, dims: [1]) : ones([6], ScalarType.Float64);
        Tensor expected = (gain * (clipped + update.t())).index_select(0, ids.flatten()).view(3, 4, 6).tanh();
        Reference.RelativeError(model.call(ids), expected).Should().BeLessThan(1e-13);
        Reference.SameBits(model.Weight, weight).Should().BeTrue();
        long count = 0;
        for (int step = 0; step < 20; step++)
        {
            model.call(ids).Dispose();
            count = step == 4 ? LiveTensors.Count : count;
        }

        LiveTensors.Count.Should().Be(count);
    }

    [Theory]
    [InlineData(true, false, "*table*max_norm*call(...)*")]
    [InlineData(false, true, "*table*sparse*call(...)*")]
    public void Inject_SealedEmbeddingThatCannotBeSubstituted_IsRefusedAndLeftAlone(bool clips, bool sparse, string message)
    {
        using var scope = NewDisposeScope();
        using SealedEmbedding model = Make(calls: false, maxNorm: clips ? 1.625 : null, sparse: sparse);
        Tensor ids = Ids();
        Tensor weight = model.Weight.detach().clone();
        FluentActions.Invoking(() => Inject(model, ids, dora: false)).Should().Throw<NotSupportedException>().WithMessage(message);
        Reference.SameBits(model.Weight, weight).Should().BeTrue();
        model.named_children().Should().ContainSingle();
        model.Weight.requires_grad.Should().BeTrue();
        model.call(ids).shape.Should().Equal(3, 4, 6);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Training_SubstitutedEmbedding_KeepsTheNumberOfTensorsAndLearns(bool dora)
    {
        using var scope = NewDisposeScope();
        using SealedEmbedding model = Make(calls: false);
        Tensor ids = Ids();
        using AdaptedModel adapted = Inject(model, ids, dora);
        Tensor target = zeros(3, 4, 6, dtype: ScalarType.Float64);
        List<double> losses = [];
        long count = 0;
        using optim.Optimizer optimizer = optim.SGD(adapted.TrainableParameters(), 0.1);
        for (int step = 0; step < 20; step++)
        {
            using (NewDisposeScope())
            {
                optimizer.zero_grad();
                Tensor loss = (model.call(ids) - target).square().mean();
                loss.backward();
                optimizer.step();
                losses.Add(loss.item<double>());
            }

            count = step == 4 ? LiveTensors.Count : count;
        }

        LiveTensors.Count.Should().Be(count);
        losses[^1].Should().BeLessThan(losses[0]);
    }

    private static Tensor Ids() => tensor(new long[] { 4, 0, 4, 7, 12, 4, 2, 2, 11, 0, 5, 9 }).view(3, 4);

    private static SealedEmbedding Make(bool calls, long? padding = null, double? maxNorm = null, bool sparse = false)
    {
        manual_seed(61);
        return new(nn.Embedding(13, 6, padding, maxNorm, sparse: sparse, dtype: ScalarType.Float64), calls);
    }

    private static AdaptedModel Inject(SealedEmbedding model, Tensor ids, bool dora) =>
        AdapterInjector.Inject(model, new() { Rank = 3, Alpha = 5, UseDora = dora, TargetModules = ["table"] }, new() { Probe = () => model.call(ids) });

    /// <summary>Holds an embedding in a sealed field.</summary>
    private sealed class SealedEmbedding : nn.Module<Tensor, Tensor>
    {
        private readonly Embedding table;
        private readonly bool calls;

        public SealedEmbedding(Embedding table, bool calls)
            : base(nameof(SealedEmbedding))
        {
            (this.table, this.calls) = (table, calls);
            RegisterComponents();
        }

        public Parameter Weight => table.get_parameter("weight")!;

        public override Tensor forward(Tensor input)
        {
            using Tensor rows = calls ? table.call(input) : table.forward(input);
            return rows.tanh();
        }
    }
}
