using DoraSharp.Tests.Injection;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Quantization.Models;

public class ModelQuantizerTests
{
    public static TheoryData<string> OpenModels() => [nameof(OpenFields), nameof(OpenProperties), nameof(InDictionary), nameof(InSequential), nameof(InModuleList), nameof(InModuleDict), nameof(InArrayWithAlias)];

    [Theory]
    [MemberData(nameof(OpenModels))]
    public void Quantize_EveryWayToHoldALayer_RunsOnTheDecodedWeights(string kind)
    {
        using var scope = NewDisposeScope();
        manual_seed(21);
        using nn.Module<Tensor, Tensor> model = Make(kind);
        Tensor x = randn(5, 24, dtype: ScalarType.Float64);
        using nn.Module<Tensor, Tensor> twin = Make(kind);
        twin.load_state_dict(model.state_dict());

        QuantizationReport report = model.Quantize();

        report.Sites.Should().HaveCount(2);
        model.modules().Should().NotContain(module => module is Linear);
        model.modules().OfType<QuantizedLinear>().Distinct().Should().HaveCount(2);
        foreach (QuantizedSite site in report.Sites)
        {
            using QuantizedTensor expected = QuantizedTensor.Quantize(twin.get_parameter($"{site.Path}.weight")!);
            QuantizedLinear layer = (QuantizedLinear)model.named_modules().Single(entry => entry.name == site.Path).module;
            Reference.SameBits(layer.Weight.Codes, expected.Codes).Should().BeTrue();
            (site.OutFeatures, site.InFeatures).Should().Be((layer.OutFeatures, layer.InFeatures));
            Tensor decoded = expected.Dequantize(ScalarType.Float32).to(ScalarType.Float64);
            site.RelativeError.Should().BeApproximately(Reference.RelativeError(decoded, twin.get_parameter($"{site.Path}.weight")!), 1e-9);
            site.MaxError.Should().BeApproximately((decoded - twin.get_parameter($"{site.Path}.weight")!).abs().max().item<double>(), 1e-12);
            site.Bytes.Should().Be(expected.Bytes);
            using var noGrad = no_grad();
            twin.get_parameter($"{site.Path}.weight")!.copy_(decoded);
        }

        Reference.RelativeError(model.call(x), twin.call(x)).Should().BeLessThan(1e-12);
        model.state_dict().Keys.Select(key => key.Split('.')[0]).Distinct().Should().Equal(twin.state_dict().Keys.Select(key => key.Split('.')[0]).Distinct());
    }

    [Theory]
    [InlineData(nameof(SealedCalled), "up is held by SealedCalled.up*declared as Linear*Module<Tensor, Tensor>*ExcludeModules*")]
    [InlineData(nameof(InReadOnlyList), "down is held by InReadOnlyList.all*")]
    public void Quantize_SlotThatCannotHoldTheLayer_NamesFieldAndWayOutAndChangesNothing(string kind, string message)
    {
        using nn.Module<Tensor, Tensor> model = Make(kind);
        nn.Module[] before = [.. model.modules()];
        model.Invoking(m => m.Quantize()).Should().Throw<InvalidOperationException>().WithMessage(message + "Nothing was changed.");
        model.modules().Should().Equal(before);
    }

    [Fact]
    public void Quantize_HeadNormAndEmbedding_AreLeftAlone()
    {
        using var scope = NewDisposeScope();
        using Sequential model = nn.Sequential(
            ("embed", nn.Embedding(11, 64)), ("fc", nn.Linear(64, 32)), ("norm", nn.LayerNorm(32)), ("other", nn.Linear(32, 32, dtype: ScalarType.Float32)), ("lm_head", nn.Linear(32, 11)));
        QuantizationReport report = model.Quantize(new() { ExcludeModules = ["other"], ComputeType = ScalarType.BFloat16 });
        report.Sites.Select(site => site.Path).Should().Equal("fc");
        report.LeftAlone.Should().Equal("other", "lm_head");
        ((QuantizedLinear)model[1]).ComputeType.Should().Be(ScalarType.BFloat16);
        report.ToString().Should().Contain("fc [32, 64]: 4.").And.Contain("left alone: other, lm_head");

        QuantizationReport second = model.Quantize(new() { TargetModules = ["other", "lm_head"], Quantization = new() { Format = QuantizationFormat.Int8Rows } });
        second.Sites.Select(site => site.Path).Should().Equal("other", "lm_head");
        second.LeftAlone.Should().BeEmpty();
    }

    [Fact]
    public void Quantize_TiedHead_IsLeftAloneUnlessItIsNamed()
    {
        using var scope = NewDisposeScope();
        Embedding embedding = nn.Embedding(24, 24);
        Linear output = nn.Linear(24, 24, hasBias: false);
        output.weight = embedding.get_parameter("weight")!;
        using Sequential model = nn.Sequential(("embed", embedding), ("fc", nn.Linear(24, 24)), ("output", output));
        Tensor ids = randint(0, 24, [3, 4], ScalarType.Int64);
        QuantizationReport report = model.Quantize();
        report.Sites.Select(site => site.Path).Should().Equal("fc");
        report.LeftAlone.Should().Equal("output");

        report = model.Quantize(new() { TargetModules = ["output"] });
        report.Untied.Should().Equal(("output.weight", "embed.weight"));
        model.call(ids).isfinite().all().item<bool>().Should().BeTrue();
    }

    [Fact]
    public void Quantize_WhatCannotBe_IsRefusedBeforeAnythingIsChanged()
    {
        using var scope = NewDisposeScope();
        using Sequential model = nn.Sequential(("good", nn.Linear(8, 8)), ("bad", nn.Linear(8, 8)), ("conv", nn.Conv1d(8, 8, 3)));
        nn.Module[] before = [.. model.modules()];
        using (no_grad())
        {
            ((Linear)model[1]).weight[3, 4] = float.PositiveInfinity;
        }

        model.Invoking(m => m.Quantize()).Should().Throw<ArgumentException>().WithMessage("*weight of bad*infinite*Nothing was changed*");
        model.Invoking(m => m.Quantize(new() { TargetModules = ["conv"] })).Should().Throw<ArgumentException>().WithMessage("*conv, a Conv1d*only Linear*");
        model.Invoking(m => m.Quantize(new() { TargetModules = ["goood"] })).Should().Throw<ArgumentException>().WithMessage("*goood*Near misses: good*");
        model.Invoking(m => m.Quantize(new() { TargetModules = ["good"], ExcludeModules = ["good"] })).Should().Throw<ArgumentException>().WithMessage("*ExcludeModules*");
        using (no_grad())
        {
            ((Linear)model[1]).weight[3, 4] = 7e4f;
        }

        model.Invoking(m => m.Quantize(new() { Quantization = new() { Format = QuantizationFormat.Int8Rows } })).Should().Throw<ArgumentException>().WithMessage("*weight of bad*float16*");
        using (no_grad())
        {
            ((Linear)model[1]).weight[3, 4] = 1;
        }

        model.to(ScalarType.Float64);
        using (no_grad())
        {
            ((Linear)model[1]).weight[3, 4] = 1e39;
        }

        model.Invoking(m => m.Quantize()).Should().Throw<ArgumentException>().WithMessage("*weight of bad*float32*Nothing was changed*");
        using (Linear alone = nn.Linear(4, 4))
        {
            alone.Invoking(m => m.Quantize()).Should().Throw<ArgumentException>().WithMessage("*QuantizedLinear.From*");
        }

        using (AdaptedModel adapted = AdapterInjector.Inject(model, new() { TargetModules = ["good"] }))
        {
            model.Invoking(m => m.Quantize()).Should().Throw<InvalidOperationException>().WithMessage("*adapted already*");
        }

        model.modules().Should().Equal(before);
    }

    [Fact]
    public void Quantize_LayerWithHooks_StillRunsThemUntilTheyAreRemoved()
    {
        using var scope = NewDisposeScope();
        Linear layer = nn.Linear(8, 8);
        List<string> calls = [];
        layer.register_forward_pre_hook((_, x) =>
        {
            calls.Add("before");
            return x;
        });
        var after = layer.register_forward_hook((_, _, y) =>
        {
            calls.Add("after");
            return y;
        });
        using Sequential model = nn.Sequential(("fc", layer), ("act", nn.Tanh()));

        model.Quantize();
        model.call(ones(2, 8));
        after.remove();
        model.call(ones(2, 8));

        calls.Should().Equal("before", "after", "before");
    }

    [Fact]
    public void Quantize_ModelWithoutValues_IsRefusedByName()
    {
        using Sequential model = nn.Sequential(("fc", nn.Linear(8, 8, device: META)));
        model.Invoking(static m => m.Quantize()).Should().Throw<ArgumentException>().WithMessage("*weight of fc*meta*Nothing was changed*");
    }

    [Fact]
    public void Quantize_OneLayerAtATime_NeverHoldsTwoModels()
    {
        using var scope = NewDisposeScope();
        Linear[] layers = [.. Enumerable.Range(0, 8).Select(_ => nn.Linear(128, 128))];
        using Sequential model = nn.Sequential(layers.Select((layer, index) => ($"fc{index}", (nn.Module<Tensor, Tensor>)layer)));
        Parameter[] dense = [.. layers.Select(layer => layer.weight)];
        long Bytes() => dense.Where(weight => !weight.IsInvalid).Sum(weight => weight.numel() * weight.element_size())
            + model.modules().OfType<QuantizedLinear>().Distinct().Sum(layer => layer.Weight.Bytes);
        long before = Bytes();
        List<(string Path, int Done, int Total, long Bytes)> steps = [];
        model.Quantize(progress: new Recorder(step => steps.Add((step.Site.Path, step.Done, step.Total, Bytes()))));

        steps.Select(step => step.Path).Should().Equal(Enumerable.Range(0, 8).Select(index => $"fc{index}"));
        steps.Select(step => (step.Done, step.Total)).Should().Equal(Enumerable.Range(1, 8).Select(done => (done, 8)));
        steps.Select(step => step.Bytes).Should().BeInDescendingOrder();
        steps[0].Bytes.Should().BeLessThan(before);
        steps[^1].Bytes.Should().BeLessThan((long)(0.15 * before));
    }

    [Fact]
    public void Quantize_ThenAdaptTrainSaveLoadAndMerge_IsLikeADenseModel()
    {
        using var scope = NewDisposeScope();
        using var folder = new TemporaryFolder();
        manual_seed(22);
        using Sequential model = nn.Sequential(("a", nn.Linear(40, 48)), ("act", nn.Tanh()), ("b", nn.Linear(48, 10)), ("lm_head", nn.Linear(10, 6)));
        model.Quantize();
        Tensor x = randn(20, 40), target = randn(20, 6);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 4, UseDora = true });
        adapted.Report.Sites.Select(site => site.Path).Should().Equal("a", "b");
        using var optimizer = optim.AdamW(adapted.TrainableParameters(), lr: 1e-2);
        double first = Step(), last = 0;
        for (int i = 0; i < 30; i++)
        {
            last = Step();
        }

        last.Should().BeLessThan(first * 0.9);
        Tensor trained = model.call(x);
        adapted.Save(folder.Path);
        adapted.Add("second", new() { Rank = 2, TargetModules = ["a"], Initialization = LoraInitialization.Random });
        using (adapted.ForSamples([.. Enumerable.Range(0, 20).Select(i => i % 2 == 0 ? "default" : "__base__")]))
        {
            Tensor mixed = model.call(x);
            Reference.RelativeError(mixed[0], trained[0]).Should().BeLessThan(1e-5);
            using (adapted.Disable())
            {
                Reference.RelativeError(mixed[1], model.call(x)[1]).Should().BeLessThan(1e-5);
            }
        }

        adapted.Combine("both", new() { Adapters = ["default", "second"], Weights = [1, 0.5], Type = CombinationType.Cat });
        adapted.ConvertToLora("second");
        adapted.Activate("both");
        Reference.RelativeError(model.call(x), trained).Should().BeInRange(1e-6, 1);
        adapted.Delete("both");
        adapted.Delete("second");
        adapted.HotSwap("default", folder.Path);
        Reference.SameBits(model.call(x), trained).Should().BeTrue();

        MergeReport report = adapted.MergeAndUnload();
        report.Layers.Should().HaveCount(2).And.OnlyContain(layer => !layer.IsQuantized && layer.RelativeError < 1e-7);
        model.modules().Should().NotContain(module => module is QuantizedLinear);
        model.state_dict().Keys.Should().BeEquivalentTo("a.weight", "a.bias", "b.weight", "b.bias", "lm_head.weight", "lm_head.bias");
        Reference.RelativeError(model.call(x), trained).Should().BeLessThan(1e-5);

        double Step()
        {
            using var inner = NewDisposeScope();
            optimizer.zero_grad();
            Tensor loss = nn.functional.mse_loss(model.call(x), target);
            loss.backward();
            optimizer.step();
            return loss.item<float>();
        }
    }

    [Theory]
    [InlineData(QuantizationFormat.Nf4, float.NaN)]
    [InlineData(QuantizationFormat.Int8Rows, 1e6f)]
    public void Merge_ResultThatCannotBeQuantizedAgain_NamesTheLayerAndMergesNothing(QuantizationFormat format, float factor)
    {
        using var scope = NewDisposeScope();
        using Sequential model = nn.Sequential(("a", nn.Linear(40, 48)), ("b", nn.Linear(48, 10)));
        model.Quantize(new() { Quantization = new() { Format = format } });
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 4, TargetModules = ["a", "b"], Initialization = LoraInitialization.Random });
        Tensor x = randn(3, 40), before = model.call(x);
        LoraAdapter last = (LoraAdapter)adapted.Layers[^1].Value["default"];
        Tensor kept = last.B.detach().clone();
        using (no_grad())
        {
            last.B.fill_(factor);
        }

        adapted.Invoking(a => a.Merge(safe: false, requantize: true)).Should().Throw<InvalidOperationException>().WithMessage("*b cannot be quantized*default*Nothing was merged*");

        adapted.IsMerged.Should().BeFalse();
        using (no_grad())
        {
            last.B.copy_(kept);
        }

        Reference.SameBits(model.call(x), before).Should().BeTrue();
    }

    [Fact]
    public void MergeAndUnload_Requantized_LeavesQuantizedLayers()
    {
        using var scope = NewDisposeScope();
        manual_seed(23);
        using Sequential model = nn.Sequential(("a", nn.Linear(64, 48)), ("b", nn.Linear(48, 64)));
        model.Quantize();
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 4, UseDora = true, Initialization = LoraInitialization.Random });
        nn.Module layer = ((AdaptedLinear)model[0]).BaseModule;
        Tensor x = randn(9, 64), before = model.call(x);
        MergeReport report = adapted.MergeAndUnload(requantize: true);
        report.Layers.Should().OnlyContain(merged => merged.IsQuantized && merged.RelativeError > 0.05 && merged.RelativeError < 0.15);
        report.LargestRelativeError.Should().Be(report.Layers.Max(merged => merged.RelativeError));
        model[0].Should().BeSameAs(layer);
        Reference.RelativeError(model.call(x), before).Should().BeInRange(0.01, 0.3);
    }

    [Fact]
    public void MergeAndUnload_SlotForQuantizedLayersOnly_IsRefusedUnlessRequantized()
    {
        using var scope = NewDisposeScope();
        using HoldsQuantized model = new();
        Tensor x = randn(3, 32);
        using AdaptedModel adapted = AdapterInjector.Inject(
            model, new() { TargetModules = ["fc", "forwarded"], Initialization = LoraInitialization.Random }, new() { Probe = () => model.call(x) });
        adapted.Report.Sites.Select(site => site.Route).Should().Equal(InjectionRoute.Hook, InjectionRoute.SubstituteWeight);
        Tensor y = model.call(x);
        adapted.Invoking(a => a.MergeAndUnload()).Should().Throw<InvalidOperationException>().WithMessage("fc is held by HoldsQuantized.fc*QuantizedLinear*requantize*Nothing was merged*");
        adapted.Merge();
        Reference.RelativeError(model.call(x), y).Should().BeLessThan(1e-5);
        adapted.Unmerge();
        Reference.SameBits(model.call(x), y).Should().BeTrue();
        adapted.MergeAndUnload(requantize: true).Layers.Should().OnlyContain(layer => layer.IsQuantized);
    }

    private static nn.Module<Tensor, Tensor> Make(string kind) => kind switch
    {
        nameof(OpenFields) => new OpenFields(),
        nameof(OpenProperties) => new OpenProperties(),
        nameof(InDictionary) => new InDictionary(),
        nameof(InSequential) => new InSequential(),
        nameof(InModuleList) => new InModuleList(),
        nameof(InModuleDict) => new InModuleDict(),
        nameof(InArrayWithAlias) => new InArrayWithAlias(),
        nameof(SealedCalled) => new SealedCalled(),
        nameof(InReadOnlyList) => new InReadOnlyList(),
        _ => throw new ArgumentOutOfRangeException(nameof(kind)),
    };

    private sealed class Recorder(Action<QuantizationProgress> record) : IProgress<QuantizationProgress>
    {
        public void Report(QuantizationProgress value) => record(value);
    }

    /// <summary>Fields of the sealed type itself, which is invoked in both ways.</summary>
    private sealed class HoldsQuantized : nn.Module<Tensor, Tensor>
    {
        private readonly QuantizedLinear fc;
        private readonly QuantizedLinear forwarded;

        public HoldsQuantized()
            : base(nameof(HoldsQuantized))
        {
            using Linear dense = nn.Linear(32, 32);
            (fc, forwarded) = (QuantizedLinear.From(dense), QuantizedLinear.From(dense));
            RegisterComponents();
        }

        public override Tensor forward(Tensor input) => forwarded.forward(fc.call(input).tanh());
    }
}
