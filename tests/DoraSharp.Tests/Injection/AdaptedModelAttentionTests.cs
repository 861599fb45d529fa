using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection;

/// <summary>Combining and converting where one module has several adapted weights, and PEFT's doubled update of one of them.</summary>
public class AdaptedModelAttentionTests
{
    private static readonly LoraOptions Options = new() { Rank = 3, Alpha = 5, TargetModules = ["attention"] };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Convert_ToDoraAndBack_LeavesTheOutput(bool doubles)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        manual_seed(141);
        using SelfAttentionModel model = new();
        using SelfAttentionModel other = new();
        other.load_state_dict(model.state_dict());
        Tensor x = randn(5, 2, 24, dtype: ScalarType.Float64);
        using AdaptedModel adapted = AdapterInjector.Inject(model, Options with { DoublesAttentionOutput = doubles });
        adapted.Layers.ToList().ForEach(layer => Reference.Disturb(layer.Value));
        Tensor before = model.call(x);

        adapted.ConvertToDora("default");
        Reference.RelativeError(model.call(x), before).Should().BeLessThan(1e-14);
        adapted.Layers.ToList().ForEach(layer => Reference.Disturb(layer.Value, seed: 3));
        Tensor decomposed = model.call(x);

        ConversionReport report = adapted.ConvertToLora("default");

        Reference.RelativeError(model.call(x), decomposed).Should().BeLessThan(1e-5);
        report.Layers.Should().HaveCount(2);
        report.Layers.Select(layer => layer.Rank).Distinct().Should().HaveCount(1, "a module's weights share its rank");
        adapted.Save(folder.Path);
        using AdaptedModel loaded = AdaptedModel.Load(other, folder.Path);
        Reference.RelativeError(other.call(x), model.call(x)).Should().BeLessThan(1e-14);
    }

    [Fact]
    public void Combine_AnUpdateThatIsDoubled_CountsTwice()
    {
        using var scope = NewDisposeScope();
        manual_seed(142);
        using SelfAttentionModel model = new();
        Tensor x = randn(5, 2, 24, dtype: ScalarType.Float64);
        using AdaptedModel adapted = AdapterInjector.Inject(model, Options with { DoublesAttentionOutput = true }, new() { AdapterName = "a" });
        adapted.Add("b", Options);
        adapted.Layers.ToList().ForEach(layer => Reference.Disturb(layer.Value));
        Tensor first = model.call(x);
        adapted.Activate("a", "b");
        Tensor both = model.call(x);

        adapted.Combine("copy", new() { Adapters = ["a"], Weights = [1], Type = CombinationType.Linear });
        adapted.Combine("sum", new() { Adapters = ["a", "b"], Weights = [1, 1], Type = CombinationType.Cat });

        adapted.Activate("copy");
        Reference.RelativeError(model.call(x), first).Should().BeLessThan(1e-13);
        adapted.Activate("sum");
        Reference.RelativeError(model.call(x), both).Should().BeLessThan(1e-13);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void SavePlain_Pissa_ServesTheOriginalBase(bool doubles)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        manual_seed(143);
        using SelfAttentionModel model = new();
        using SelfAttentionModel other = new();
        other.load_state_dict(model.state_dict());
        Tensor x = randn(5, 2, 24, dtype: ScalarType.Float64);
        Tensor unadapted = model.call(x);
        using AdaptedModel adapted = AdapterInjector.Inject(model, Options with { DoublesAttentionOutput = doubles, Initialization = LoraInitialization.Pissa });
        Reference.RelativeError(model.call(x), unadapted).Should().BeLessThan(1e-12);
        adapted.Layers.ToList().ForEach(layer => Reference.Disturb(layer.Value));

        adapted.SavePlain(folder.Path);

        using AdaptedModel loaded = AdaptedModel.Load(other, folder.Path);
        Reference.RelativeError(other.call(x), model.call(x)).Should().BeLessThan(1e-12);
    }

    [Fact]
    public void FitTo_TunedAttention_GivesItsProjections()
    {
        using var scope = NewDisposeScope();
        manual_seed(144);
        using SelfAttentionModel model = new();
        using SelfAttentionModel tuned = new();
        Tensor x = randn(5, 2, 24, dtype: ScalarType.Float64);
        using AdaptedModel adapted = AdapterInjector.Inject(model, Options with { Bias = BiasTraining.LoraOnly });

        ConversionReport report = adapted.FitTo("default", tuned, RankChoice.ForError(1e-9));

        Reference.RelativeError(model.call(x), tuned.call(x)).Should().BeLessThan(1e-6);
        report.Layers.Select(layer => layer.Rank).Should().Equal(24, 24);
    }
}
