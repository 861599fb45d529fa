using DoraSharp.Tests.Injection;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Merging;

public class MergeTests
{
    [Theory]
    [InlineData(false, ScalarType.Float32, 1e-5)]
    [InlineData(true, ScalarType.Float32, 1e-5)]
    [InlineData(false, ScalarType.Float64, 1e-13)]
    [InlineData(true, ScalarType.Float64, 1e-13)]
    [InlineData(true, ScalarType.BFloat16, 2e-2)]
    [InlineData(true, ScalarType.Float16, 4e-3)]
    public void Merge_TrainedAdapter_GivesTheAdaptedOutputAndUnmergeTheBits(bool dora, ScalarType dtype, double tolerance)
    {
        using var scope = NewDisposeScope();
        manual_seed(51);
        Linear layer = nn.Linear(257, 131, dtype: dtype);
        using AdaptedLinear adapted = dora ? DoraLinear.From(layer, new() { Rank = 6 }) : LoraLinear.From(layer, new() { Rank = 6 });
        Reference.Disturb(adapted.Adapters);
        Tensor x = randn(33, 257).to(dtype);
        Tensor expected = adapted.call(x);
        Tensor original = layer.weight.detach().clone();
        Parameter identity = layer.weight;

        for (int cycle = 0; cycle < 3; cycle++)
        {
            adapted.Merge();
            adapted.Adapters.IsMerged.Should().BeTrue();
            Reference.MaxRelativeError(adapted.call(x), expected).Should().BeLessThan(tolerance);
            Reference.SameBits(adapted.call(x), layer.call(x)).Should().BeTrue();
            adapted.Unmerge();
            Reference.SameBits(layer.weight, original).Should().BeTrue();
            Reference.SameBits(adapted.call(x), expected).Should().BeTrue();
        }

        layer.weight.Should().BeSameAs(identity);
    }

    [Fact]
    public void Merge_BFloat16_RoundsTheFloat64ResultOnce()
    {
        using var scope = NewDisposeScope();
        manual_seed(52);
        Linear layer = nn.Linear(257, 131, dtype: ScalarType.BFloat16);
        using LoraLinear adapted = LoraLinear.From(layer, new() { Rank = 6 });
        Reference.Disturb(adapted.Adapters);
        Tensor expected = Reference.EffectiveWeight(layer.weight.to(ScalarType.Float64), Reference.Copy(adapted.Adapters["default"])).to(ScalarType.BFloat16);
        adapted.Merge();

        Reference.SameBits(layer.weight, expected).Should().BeTrue();
    }

    [Fact]
    public void Merge_FreshAdapter_ChangesNoBit()
    {
        using var scope = NewDisposeScope();
        manual_seed(53);
        foreach (ScalarType dtype in (ScalarType[])[ScalarType.Float32, ScalarType.BFloat16, ScalarType.Float16])
        {
            Linear layer = nn.Linear(257, 131, dtype: dtype);
            Tensor original = layer.weight.detach().clone();
            using DoraLinear adapted = DoraLinear.From(layer, new() { Rank = 6 });
            adapted.Merge();
            Reference.SameBits(layer.weight, original).Should().BeTrue();
        }
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void Merge_SafeAndNotFinite_NamesTheLayerAndLeavesEveryWeightAsItWas(float poison)
    {
        using var scope = NewDisposeScope();
        manual_seed(54);
        using OpenFields model = new();
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { UseDora = true });
        foreach ((_, AdapterStack stack) in adapted.Layers)
        {
            Reference.Disturb(stack);
        }

        Tensor[] before = [.. model.parameters().Select(p => p.detach().clone())];
        Parameter b = ((LoraAdapter)adapted.Layers[1].Value["default"]).B;
        using (no_grad())
        {
            b[2, 3] = poison;
        }

        adapted.Invoking(a => a.Merge()).Should().Throw<InvalidOperationException>().WithMessage("*down*not finite*Nothing was merged*");
        adapted.Invoking(a => a.MergeAndUnload()).Should().Throw<InvalidOperationException>();
        adapted.IsMerged.Should().BeFalse();
        using (no_grad())
        {
            b[2, 3] = before[model.named_parameters().ToList().FindIndex(p => p.name == "down.adapters.default.lora_B")][2, 3];
        }

        model.parameters().Zip(before, Reference.SameBits).Should().OnlyContain(same => same);
        adapted.Merge(safe: false);
        adapted.IsMerged.Should().BeTrue();
    }

    [Fact]
    public void Merge_WeightTiedToALayerWithoutAdapter_SeparatesTheTwoUntilUnmerge()
    {
        using var scope = NewDisposeScope();
        manual_seed(57);
        using TiedModel model = new();
        Tensor ids = tensor(new long[] { 3, 30, 0, 3 });
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { TargetModules = ["head"], UseDora = true });
        Reference.Disturb(adapted.Layers[0].Value);
        Tensor before = model.Embedded.detach().clone();
        Tensor expected = model.call(ids);

        adapted.Merge();
        Reference.RelativeError(model.call(ids), expected).Should().BeLessThan(1e-6);
        Reference.SameBits(model.Embedded, before).Should().BeTrue();
        adapted.Unmerge();
        model.IsTied.Should().BeTrue();
        Reference.SameBits(model.Embedded, before).Should().BeTrue();
        Reference.SameBits(model.call(ids), expected).Should().BeTrue();

        adapted.MergeAndUnload();
        Reference.RelativeError(model.call(ids), expected).Should().BeLessThan(1e-6);
        Reference.SameBits(model.Embedded, before).Should().BeTrue();
        model.IsTied.Should().BeFalse();
    }

    [Fact]
    public void MergeAndUnload_OneLayerMergedBefore_MergesTheOthersToo()
    {
        using var scope = NewDisposeScope();
        manual_seed(55);
        using OpenFields model = new();
        Tensor x = randn(5, 24, dtype: ScalarType.Float64);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { UseDora = true });
        adapted.Layers.ToList().ForEach(layer => Reference.Disturb(layer.Value));
        Tensor expected = model.call(x);
        Tensor[] before = [.. model.parameters().Select(p => p.detach().clone())];

        adapted.Layers[0].Value.Merge();
        adapted.Unmerge();
        model.parameters().Zip(before, Reference.SameBits).Should().OnlyContain(same => same);
        adapted.Layers[0].Value.Merge();
        adapted.MergeAndUnload();

        Reference.MaxRelativeError(model.call(x), expected).Should().BeLessThan(1e-12);
    }

    [Fact]
    public void Merge_WeightThatCannotBeWritten_LeavesEveryWeightAsItWas()
    {
        using var scope = NewDisposeScope();
        manual_seed(56);
        Linear first = nn.Linear(9, 5);
        Linear second = nn.Linear(9, 5);
        second.weight = new Parameter(randn(1, 9).expand(5, 9), requires_grad: false);
        using Sequential model = nn.Sequential(("first", first), ("act", nn.Linear(5, 9)), ("second", second));
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { TargetModules = ["first", "second"] });
        adapted.Layers.ToList().ForEach(layer => Reference.Disturb(layer.Value));
        Tensor before = first.weight.detach().clone();

        adapted.Invoking(a => a.Merge()).Should().Throw<Exception>();
        adapted.IsMerged.Should().BeFalse();
        Reference.SameBits(first.weight, before).Should().BeTrue();
    }

    [Fact]
    public void Merge_WhileSwitchedOff_IsRefused()
    {
        using OpenFields model = new();
        using AdaptedModel adapted = AdapterInjector.Inject(model, new());
        using (adapted.Disable())
        {
            adapted.Invoking(a => a.Merge()).Should().Throw<InvalidOperationException>().WithMessage("*switched off*");
        }

        adapted.Merge();
    }

    [Fact]
    public void Merge_MemorySharedWithABufferOrInPart_IsRefused()
    {
        using var scope = NewDisposeScope();
        Linear whole = nn.Linear(9, 5);
        using Sequential withBuffer = nn.Sequential(("layer", whole), ("holder", new Holder(whole.weight.detach())));
        using AdaptedModel adapted = AdapterInjector.Inject(withBuffer, new() { TargetModules = ["layer"] });
        adapted.Invoking(a => a.Merge()).Should().Throw<InvalidOperationException>().WithMessage("*layer*holder.held*");

        Tensor fused = randn(15, 9);
        Linear part = nn.Linear(9, 5);
        part.weight = new Parameter(fused[TensorIndex.Slice(5, 10)], requires_grad: false);
        using Sequential withPart = nn.Sequential(("part", part), ("holder", new Holder(fused)));
        using AdaptedModel adaptedPart = AdapterInjector.Inject(withPart, new() { TargetModules = ["part"] });
        adaptedPart.Invoking(a => a.Merge()).Should().Throw<InvalidOperationException>().WithMessage("*part*holder.held*");
    }

    [Fact]
    public void Merge_WrongState_IsRefused()
    {
        using DoraLinear adapted = new(5, 7);
        adapted.Invoking(a => a.Unmerge()).Should().Throw<InvalidOperationException>();
        adapted.Merge();
        adapted.Invoking(a => a.Merge()).Should().Throw<InvalidOperationException>().WithMessage("*Unmerge*");
        adapted.Invoking(a => a.Adapters.Add("other", new())).Should().Throw<InvalidOperationException>();
        adapted.Invoking(a => a.Adapters.Activate()).Should().Throw<InvalidOperationException>();
        adapted.Invoking(a => a.Adapters.Delete("default")).Should().Throw<InvalidOperationException>();
    }

    [Fact]
    public void Dispose_WhileMerged_GivesTheOriginalWeightsBack()
    {
        using var scope = NewDisposeScope();
        using OpenFields model = new();
        Tensor[] before = [.. model.parameters().Select(p => p.detach().clone())];
        using (AdaptedModel adapted = AdapterInjector.Inject(model, new()))
        {
            Reference.Disturb(adapted.Layers[0].Value);
            adapted.Merge();
        }

        model.parameters().Zip(before, Reference.SameBits).Should().OnlyContain(same => same);
    }

    [Fact]
    public void MergeUnmerge_ManyCycles_KeepTheLiveTensorCountFlat()
    {
        using DoraLinear adapted = new(37, 53);
        adapted.Merge();
        adapted.Unmerge();
        long before = LiveTensors.Count;
        for (int i = 0; i < 20; i++)
        {
            adapted.Merge();
            adapted.Unmerge();
        }

        LiveTensors.Count.Should().Be(before);
    }

    private sealed class Holder : nn.Module<Tensor, Tensor>
    {
        public Holder(Tensor held)
            : base(nameof(Holder)) => register_buffer("held", held);

        public override Tensor forward(Tensor input) => input.alias();
    }

    private sealed class TiedModel : nn.Module<Tensor, Tensor>
    {
        private readonly Embedding embedding = nn.Embedding(31, 17);
        private readonly nn.Module<Tensor, Tensor> head;

        public TiedModel()
            : base(nameof(TiedModel))
        {
            Linear layer = nn.Linear(17, 31, hasBias: false);
            layer.weight = embedding.weight!;
            head = layer;
            RegisterComponents();
        }

        public Parameter Embedded => embedding.get_parameter("weight")!;

        public bool IsTied => TensorMemory.Address(Embedded) == TensorMemory.Address(named_parameters().Single(p => p.name.StartsWith("head", StringComparison.Ordinal) && p.name.EndsWith("weight", StringComparison.Ordinal)).parameter);

        public override Tensor forward(Tensor input)
        {
            using Tensor x = embedding.call(input);
            return head.call(x);
        }
    }
}
