using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers;

public class AdaptedLinearTests
{
    private static readonly long[] BatchShape = [3, 5, 37];

    public static TheoryData<bool, bool, ScalarType> KindsAndTypes()
    {
        TheoryData<bool, bool, ScalarType> data = [];
        foreach (bool dora in (bool[])[false, true])
        {
            foreach (bool bias in (bool[])[false, true])
            {
                foreach (ScalarType dtype in (ScalarType[])[ScalarType.Float64, ScalarType.Float32, ScalarType.BFloat16, ScalarType.Float16])
                {
                    data.Add(dora, bias, dtype);
                }
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(KindsAndTypes))]
    public void Forward_FreshAdapter_IsTheBaseLayerBitForBit(bool dora, bool bias, ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        manual_seed(11);
        Linear layer = nn.Linear(37, 53, bias, dtype: dtype);
        Tensor x = randn(BatchShape).to(dtype);
        Tensor expected = layer.call(x);
        using AdaptedLinear adapted = Make(layer, new() { Rank = 4, Alpha = 7 }, dora);

        Reference.SameBits(adapted.call(x), expected).Should().BeTrue();
    }

    [Theory]
    [MemberData(nameof(KindsAndTypes))]
    public void ForwardAndBackward_TrainedAdapter_EqualFloat64AutogradOfTheDefinition(bool dora, bool bias, ScalarType dtype)
    {
        double tolerance = dtype switch { ScalarType.Float64 => 1e-12, ScalarType.Float32 => 2e-6, ScalarType.Float16 => 2e-3, _ => 1e-2 };
        using var scope = NewDisposeScope();
        manual_seed(12);
        Linear layer = nn.Linear(37, 53, bias, dtype: dtype);
        using AdaptedLinear adapted = Make(layer, new() { Rank = 4, Alpha = 7 }, dora);
        Reference.Disturb(adapted.Adapters);
        ReferenceAdapter expected = Reference.Copy(adapted.Adapters["default"]);
        Tensor x = randn(BatchShape).to(dtype).requires_grad_(true);
        Tensor xReference = Reference.Leaf(x);
        Tensor dy = randn(3, 5, 53).to(dtype);

        if (bias)
        {
            layer.bias!.requires_grad = true;
        }

        Tensor y = adapted.call(x);
        y.backward([dy]);
        Tensor biasReference = bias ? Reference.Leaf(layer.bias!) : zeros(53, dtype: ScalarType.Float64);
        Tensor yReference = xReference.matmul(Reference.EffectiveWeight(layer.weight.to(ScalarType.Float64), expected).t()) + biasReference;
        yReference.backward([dy.to(ScalarType.Float64)]);

        y.dtype.Should().Be(dtype);
        Reference.RelativeError(y, yReference).Should().BeLessThan(tolerance);
        Reference.RelativeError(x.grad!, xReference.grad!).Should().BeLessThan(tolerance);
        LoraAdapter adapter = (LoraAdapter)adapted.Adapters["default"];
        Reference.RelativeError(adapter.A.grad!, expected.A.grad!).Should().BeLessThan(tolerance);
        Reference.RelativeError(adapter.B.grad!, expected.B.grad!).Should().BeLessThan(tolerance);
        layer.weight.grad.Should().BeNull();
        if (bias)
        {
            Reference.RelativeError(layer.bias!.grad!, biasReference.grad!).Should().BeLessThan(tolerance);
        }

        if (dora)
        {
            Reference.RelativeError(((LoraAdapter)adapter).Magnitude!.grad!, expected.Magnitude!.grad!).Should().BeLessThan(tolerance);
        }
    }

    [Theory]
    [InlineData(false, new long[] { 37 })]
    [InlineData(true, new long[] { 37 })]
    [InlineData(true, new long[] { 6, 37 })]
    [InlineData(true, new long[] { 2, 3, 4, 37 })]
    [InlineData(false, new long[] { 0, 37 })]
    [InlineData(true, new long[] { 0, 37 })]
    [InlineData(true, new long[] { 3, 0, 37 })]
    public void Forward_AnyNumberOfDimensions_KeepsThem(bool dora, long[] shape)
    {
        using var scope = NewDisposeScope();
        manual_seed(13);
        Linear layer = nn.Linear(37, 53);
        using AdaptedLinear adapted = Make(layer, new() { Rank = 4 }, dora);
        Reference.Disturb(adapted.Adapters);
        Tensor x = randn(shape).requires_grad_(true);

        Tensor y = adapted.call(x);
        y.sum().backward();

        Tensor weight = Reference.EffectiveWeight(layer.weight.to(ScalarType.Float64), Reference.Copy(adapted.Adapters["default"]));
        Tensor expected = x.to(ScalarType.Float64).matmul(weight.t()) + layer.bias!.to(ScalarType.Float64);
        y.shape.Should().Equal([.. shape[..^1], 53]);
        Reference.RelativeError(y, expected).Should().BeLessThan(2e-6);
        x.grad!.shape.Should().Equal(shape);
    }

    [Theory]
    [InlineData(DropoutPlacement.AdapterPath)]
    [InlineData(DropoutPlacement.Peft)]
    public void Forward_DoraWithDropout_FollowsItsPlacement(DropoutPlacement placement)
    {
        using var scope = NewDisposeScope();
        manual_seed(14);
        Linear layer = nn.Linear(37, 53, dtype: ScalarType.Float64);
        using DoraLinear adapted = DoraLinear.From(layer, new() { Rank = 4, Dropout = 0.4, DropoutPlacement = placement });
        Reference.Disturb(adapted.Adapters);
        ReferenceAdapter adapter = Reference.Copy(adapted.Adapters["default"]);
        Tensor x = randn(64, 37, dtype: ScalarType.Float64);

        manual_seed(99);
        Tensor y = adapted.call(x);
        manual_seed(99);
        Tensor dropped = InputDropout.Apply(x, 0.4);

        Tensor update = adapter.Scaling * adapter.B.matmul(adapter.A);
        Tensor g = adapter.Magnitude! / linalg.vector_norm(layer.weight + update, ord: 2, dims: [1]);
        Tensor lora = dropped.matmul(update.t());
        Tensor expected = placement == DropoutPlacement.AdapterPath
            ? (g * (x.matmul(layer.weight.t()) + lora)) + layer.bias!
            : layer.call(x) + ((g - 1) * dropped.matmul(layer.weight.t())) + (g * lora);
        Reference.RelativeError(y, expected).Should().BeLessThan(1e-12);
        adapted.eval();
        Tensor evaluated = x.matmul(Reference.EffectiveWeight(layer.weight, adapter).t()) + layer.bias!;
        Reference.RelativeError(adapted.call(x), evaluated).Should().BeLessThan(1e-12);
    }

    [Theory]
    [InlineData(DropoutPlacement.AdapterPath)]
    [InlineData(DropoutPlacement.Peft)]
    public void Forward_SeveralAdapters_IsTheFoldInTheOrderOfActivation(DropoutPlacement placement)
    {
        using var scope = NewDisposeScope();
        manual_seed(15);
        Linear layer = nn.Linear(37, 53, dtype: ScalarType.Float64);
        using LoraLinear adapted = LoraLinear.From(layer, new() { Rank = 3, Alpha = 5 });
        adapted.Adapters.Add("style", new() { Rank = 6, UseDora = true, DropoutPlacement = placement });
        adapted.Adapters.Add("task", new() { Rank = 2, UseDora = true, DropoutPlacement = placement });
        Reference.Disturb(adapted.Adapters);
        Tensor x = randn(9, 37, dtype: ScalarType.Float64);

        foreach (string[] order in (string[][])[["default", "style", "task"], ["task", "default"], ["style"], []])
        {
            adapted.Adapters.Activate(order);
            Tensor weight = Reference.EffectiveWeight(layer.weight, [.. order.Select(name => Reference.Copy(adapted.Adapters[name]))]);
            Tensor expected = x.matmul(weight.t()) + layer.bias!;

            Reference.RelativeError(adapted.call(x), expected).Should().BeLessThan(1e-12);
            Reference.RelativeError(adapted.Adapters.EffectiveWeight(), weight).Should().BeLessThan(1e-12);
            adapted.Adapters.Active.Should().Equal(order);
            adapted.parameters().Count(p => p.requires_grad).Should().Be(order.Sum(name => name == "default" ? 2 : 3));
        }
    }

    [Fact]
    public void Forward_PeftPlacementBehindAnotherAdapter_AveragesToTheEvaluatedOutput()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        manual_seed(16);
        Linear layer = nn.Linear(19, 23, dtype: ScalarType.Float64);
        using LoraLinear adapted = LoraLinear.From(layer, new() { Rank = 3 });
        adapted.Adapters.Add("second", new() { Rank = 2, UseDora = true, Dropout = 0.3, DropoutPlacement = DropoutPlacement.Peft });
        adapted.Adapters.Activate("default", "second");
        Reference.Disturb(adapted.Adapters);
        Tensor x = randn(1, 19, dtype: ScalarType.Float64);
        Tensor mean = adapted.call(x.expand(40_000, 19)).mean([0]);
        adapted.eval();

        Reference.RelativeError(mean, adapted.call(x).squeeze(0)).Should().BeLessThan(0.01);
    }

    [Fact]
    public void Forward_ZeroRow_GivesZeroAndFiniteGradients()
    {
        using var scope = NewDisposeScope();
        manual_seed(17);
        Linear layer = nn.Linear(37, 53, hasBias: false);
        using (no_grad())
        {
            layer.weight[4] = 0;
        }

        using DoraLinear adapted = DoraLinear.From(layer, new() { Rank = 4 });
        Tensor y = adapted.call(randn(8, 37));
        y.sum().backward();

        y[.., 4].abs().max().item<float>().Should().Be(0);
        foreach (Parameter parameter in adapted.Adapters.parameters())
        {
            parameter.grad!.isfinite().all().item<bool>().Should().BeTrue();
        }
    }

    [Fact]
    public void From_GivenLayer_SharesItsMemoryAndLeavesItAliveWhenDisposed()
    {
        using Linear layer = nn.Linear(37, 53);
        DoraLinear adapted = DoraLinear.From(layer);
        adapted.BaseLayer.Should().BeSameAs(layer);
        layer.weight.requires_grad.Should().BeFalse();

        adapted.Dispose();

        layer.weight.IsInvalid.Should().BeFalse();
        using Tensor y = layer.call(ones(2, 37));
        y.shape.Should().Equal(2, 53);
    }

    [Fact]
    public void Unload_WrappedLayer_GivesItBackAsItTrained()
    {
        using Linear layer = nn.Linear(37, 53);
        Linear back = (Linear)LoraLinear.From(layer).Unload();

        back.Should().BeSameAs(layer);
        back.weight.requires_grad.Should().BeTrue();
        back.bias!.requires_grad.Should().BeTrue();
    }

    [Fact]
    public void New_OwnBase_IsUsableAndDisposesEverything()
    {
        long before = LiveTensors.Count;
        using (DoraLinear adapted = new(37, 53, new() { Rank = 2 }, dtype: ScalarType.Float64))
        {
            using Tensor x = randn(2, 37, dtype: ScalarType.Float64);
            using Tensor y = adapted.call(x);
            y.shape.Should().Equal(2, 53);
            adapted.state_dict().Keys.Should().Equal(
                "base_layer.weight", "base_layer.bias", "adapters.default.lora_A", "adapters.default.lora_B", "adapters.default.lora_magnitude_vector");
        }

        LiveTensors.Count.Should().Be(before);
    }

    [Fact]
    public void Forward_AdaptersOfDifferentDtypes_FoldEachInItsOwn()
    {
        using var scope = NewDisposeScope();
        manual_seed(20);
        using DoraLinear adapted = new(37, 53);
        adapted.to(ScalarType.BFloat16);
        adapted.Adapters.Add("second", new() { UseDora = true });
        adapted.Adapters.Activate("default", "second");
        Reference.Disturb(adapted.Adapters);
        Tensor x = randn(5, 37).to(ScalarType.BFloat16);
        Tensor weight = Reference.EffectiveWeight(adapted.BaseLayer.weight.to(ScalarType.Float64), [.. adapted.Adapters.Active.Select(n => Reference.Copy(adapted.Adapters[n]))]);
        Tensor expected = x.to(ScalarType.Float64).matmul(weight.t()) + adapted.BaseLayer.bias!.to(ScalarType.Float64);

        Reference.RelativeError(adapted.call(x), expected).Should().BeLessThan(0.02);
    }

    [Fact]
    public void From_LayerThatCannotBeAdapted_ThrowsAndLeavesItAsItWas()
    {
        using Linear complex = nn.Linear(4, 6, dtype: ScalarType.ComplexFloat32);
        FluentActions.Invoking(() => DoraLinear.From(complex)).Should().Throw<NotSupportedException>().WithMessage("*ComplexFloat32*");
        complex.weight.requires_grad.Should().BeTrue();
    }

    [Fact]
    public void Invalidate_AfterARawWrite_RenewsTheNorm()
    {
        using var scope = NewDisposeScope();
        manual_seed(25);
        using DoraLinear adapted = new(37, 53);
        Reference.Disturb(adapted.Adapters);
        Tensor x = randn(5, 37);
        adapted.call(x);
        adapted.BaseLayer.weight.data<float>()[0, 3] = 9;
        adapted.Adapters.Invalidate();
        Tensor weight = Reference.EffectiveWeight(adapted.BaseLayer.weight.to(ScalarType.Float64), Reference.Copy(adapted.Adapters["default"]));
        Tensor expected = x.to(ScalarType.Float64).matmul(weight.t()) + adapted.BaseLayer.bias!.to(ScalarType.Float64);

        Reference.RelativeError(adapted.call(x), expected).Should().BeLessThan(2e-6);
    }

    [Fact]
    public void Forward_WrongInput_NamesBothShapes()
    {
        using LoraLinear adapted = new(37, 53);
        using Tensor x = randn(2, 36);
        adapted.Invoking(a => a.call(x)).Should().Throw<ArgumentException>().WithMessage("*37*2, 36*");
    }

    [Fact]
    public void LoraLinear_OptionsAskForDora_ThrowsAndLeavesTheLayerAsItWas()
    {
        using Linear layer = nn.Linear(4, 6);
        FluentActions.Invoking(() => LoraLinear.From(layer, new() { UseDora = true })).Should().Throw<ArgumentException>().WithMessage("*DoraLinear*");
        layer.weight.requires_grad.Should().BeTrue();
    }

    [Fact]
    public void Adapters_BadNames_AreRefused()
    {
        using LoraLinear adapted = new(4, 6);
        foreach (string name in (string[])["", " ", "a.b", "../x", "a/b", "default"])
        {
            adapted.Invoking(a => a.Adapters.Add(name, new())).Should().Throw<ArgumentException>();
        }

        adapted.Invoking(a => a.Adapters.Activate("missing")).Should().Throw<KeyNotFoundException>().WithMessage("*missing*default*");
        adapted.Invoking(a => a.Adapters.Activate("default", "default")).Should().Throw<ArgumentException>();
        adapted.Invoking(a => a.Adapters.Delete("missing")).Should().Throw<KeyNotFoundException>();
        adapted.Adapters.Active.Should().Equal("default");
    }

    [Fact]
    public void Delete_OneOfTwo_LeavesTheOther()
    {
        using var scope = NewDisposeScope();
        manual_seed(18);
        using LoraLinear adapted = new(37, 53);
        adapted.Adapters.Add("other", new() { UseDora = true });
        Reference.Disturb(adapted.Adapters);
        adapted.Adapters.Activate("default", "other");
        adapted.Adapters.Delete("default");
        Tensor x = randn(5, 37);

        adapted.Adapters.Names.Should().Equal("other");
        Tensor weight = Reference.EffectiveWeight(adapted.BaseLayer.weight.to(ScalarType.Float64), Reference.Copy(adapted.Adapters["other"]));
        Tensor expected = x.to(ScalarType.Float64).matmul(weight.t()) + adapted.BaseLayer.bias!.to(ScalarType.Float64);
        Reference.RelativeError(adapted.call(x), expected).Should().BeLessThan(2e-6);
    }

    [Fact]
    public void To_AnotherDtype_IsFollowedByBaseAndAdapters()
    {
        using var scope = NewDisposeScope();
        manual_seed(19);
        using DoraLinear adapted = new(37, 53);
        Reference.Disturb(adapted.Adapters);
        Tensor x = randn(5, 37);
        Tensor before = adapted.call(x);

        adapted.to(ScalarType.Float64);
        Tensor after = adapted.call(x.to(ScalarType.Float64));

        after.dtype.Should().Be(ScalarType.Float64);
        adapted.Adapters["default"].DType.Should().Be(ScalarType.Float64);
        Reference.RelativeError(before, after).Should().BeLessThan(1e-6);
    }

    internal static AdaptedLinear Make(Linear layer, LoraOptions options, bool dora) =>
        dora ? DoraLinear.From(layer, options) : LoraLinear.From(layer, options);
}
