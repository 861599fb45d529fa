using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection;

public class AdaptedModelCombinationTests
{
    private static readonly double[] Weights = [0.7, -0.4];

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void Combine_CatOverEveryKindOfLayer_IsTheWeightedSumOfTheChanges(bool firstIsDora, bool secondIsDora)
    {
        using var scope = NewDisposeScope();
        manual_seed(81);
        using MixedModel model = new();
        Tensor ids = MixedModel.Ids();
        using AdaptedModel adapted = Two(model, firstIsDora, secondIsDora);
        Tensor before = model.call(ids);
        Dictionary<string, Tensor> expected = adapted.Layers.ToDictionary(layer => layer.Key, layer => WeightedSum(layer.Value));

        InjectionReport report = adapted.Combine("sum", Of(CombinationType.Cat));

        report.Sites.Select(site => site.Path).Should().Equal(adapted.Layers.Select(layer => layer.Key));
        adapted.ActiveAdapters.Should().Equal("a");
        Reference.SameBits(model.call(ids), before).Should().BeTrue("the new adapter is not active");
        LoraOptions options = (LoraOptions)adapted.OptionsOf("sum");
        (options.Rank, options.Scaling, options.UseDora, options.UseRsLora).Should().Be((7, 1.0, firstIsDora || secondIsDora, false));
        adapted.Activate("sum");
        foreach ((string path, AdapterStack stack) in adapted.Layers)
        {
            Reference.RelativeError(stack.EffectiveWeight(), expected[path]).Should().BeLessThan(1e-12, path);
            ((LoraAdapter)stack["sum"]).parameters().Should().OnlyContain(parameter => parameter.requires_grad);
        }
    }

    [Fact]
    public void Combine_AdapterThatIsRescaled_CountsAsItIsNow()
    {
        using var scope = NewDisposeScope();
        manual_seed(82);
        using MixedModel model = new();
        using AdaptedModel adapted = Two(model, firstIsDora: false, secondIsDora: false);
        adapted.SetScale("a", 3);
        adapted.Combine("copy", new() { Adapters = ["a"], Weights = [1], Type = CombinationType.Linear });
        Tensor expected = model.call(MixedModel.Ids());

        adapted.Activate("copy");

        Reference.RelativeError(model.call(MixedModel.Ids()), expected).Should().BeLessThan(1e-13);
    }

    [Fact]
    public void Combine_AdaptersOfDifferentLayers_CoversThemAllWithOneRank()
    {
        using var scope = NewDisposeScope();
        manual_seed(83);
        using MixedModel model = new();
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 3, TargetModules = ["linear", "transposed"] }, new() { AdapterName = "a" });
        adapted.Add("b", new() { Rank = 5, TargetModules = ["transposed", "convolution"] });
        adapted.Layers.ToList().ForEach(layer => Reference.Disturb(layer.Value));
        Dictionary<string, Tensor> expected = adapted.Layers.ToDictionary(layer => layer.Key, layer => WeightedSum(layer.Value));

        adapted.Combine("sum", Of(CombinationType.Cat));
        adapted.Activate("sum");

        adapted.ReportOf("sum").Sites.Select(site => (site.Path, ((LoraOptions)site.Options).Rank)).Should().BeEquivalentTo([("linear", 8), ("transposed", 8), ("convolution", 8)]);
        foreach ((string path, AdapterStack stack) in adapted.Layers)
        {
            Reference.RelativeError(stack.EffectiveWeight(), expected[path]).Should().BeLessThan(1e-13, path);
        }
    }

    [Fact]
    public void Combine_SavedAndLoaded_GivesTheSameOutput()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        manual_seed(84);
        using MixedModel model = new(ScalarType.Float32);
        using MixedModel other = new(ScalarType.Float32);
        other.load_state_dict(model.state_dict());
        using AdaptedModel adapted = Two(model, firstIsDora: true, secondIsDora: false);
        adapted.Combine("sum", Of(CombinationType.Svd) with { SvdRank = 4 });
        adapted.Activate("sum");
        adapted.Save(folder.Path, adapterName: "sum");

        using AdaptedModel loaded = AdaptedModel.Load(other, folder.Path, new() { AdapterName = "sum" });

        Reference.SameBits(other.call(MixedModel.Ids()), model.call(MixedModel.Ids())).Should().BeTrue();
    }

    [Fact]
    public void Combine_Dare_FollowsItsSeed()
    {
        using var scope = NewDisposeScope();
        manual_seed(85);
        using MixedModel model = new();
        using AdaptedModel adapted = Two(model, firstIsDora: false, secondIsDora: false, rankOfSecond: 3);
        AdapterCombination dare = Of(CombinationType.DareLinear) with { Density = 0.6, Seed = 9 };
        adapted.Combine("first", dare);
        adapted.Combine("second", dare);
        adapted.Combine("third", dare with { Seed = 10 });

        foreach ((string path, AdapterStack stack) in adapted.Layers)
        {
            Reference.SameBits(((LoraAdapter)stack["first"]).B, ((LoraAdapter)stack["second"]).B).Should().BeTrue(path);
            Reference.SameBits(((LoraAdapter)stack["first"]).B, ((LoraAdapter)stack["third"]).B).Should().BeFalse(path);
        }
    }

    [Fact]
    public void Combine_WhatCannotBeCombined_IsRefusedAndChangesNothing()
    {
        using var scope = NewDisposeScope();
        manual_seed(86);
        using MixedModel model = new();
        using AdaptedModel adapted = Two(model, firstIsDora: true, secondIsDora: false);
        adapted.Add("grouped", new() { Rank = 4, TargetModules = ["grouped"] });
        adapted.AddVera("vera", new() { Rank = 4, TargetModules = ["linear"] });
        adapted.Add("biased", new() { LoraBias = true, TargetModules = ["linear"] });
        using (no_grad())
        {
            ((LoraAdapter)adapted.Layers.Single(layer => layer.Key == "convolution").Value["b"]).B[0, 0] = double.NaN;
        }

        Dictionary<string, Tensor> before = model.state_dict().ToDictionary(entry => entry.Key, entry => entry.Value.clone());
        string[] names = [.. adapted.AdapterNames];

        Refused<InvalidOperationException>("sum", ["a", "b"], "*'b' holds values that are not finite*");
        Refused<ArgumentException>("a", ["a"], "*already*");
        Refused<ArgumentException>("sum", ["a", "c"], "*no adapter 'c'*");
        Refused<ArgumentException>("sum", ["a", "biased"], "*equal ranks*", CombinationType.Linear);
        Refused<NotSupportedException>("sum", ["a", "vera"], "*VeRA*");
        Refused<NotSupportedException>("sum", ["grouped"], "*'grouped' at grouped*group*");
        Refused<NotSupportedException>("sum", ["a", "biased"], "*'biased' has a bias*");
        adapted.Delete("vera");
        adapted.Delete("biased");
        adapted.Delete("grouped");
        adapted.Delete("b");
        adapted.Merge();
        adapted.Invoking(model => model.Combine("sum", new() { Adapters = ["a"], Weights = [1] })).Should().Throw<InvalidOperationException>().WithMessage("*Unmerge*");

        void Refused<T>(string name, string[] adapters, string message, CombinationType type = CombinationType.Cat)
            where T : Exception
        {
            AdapterCombination combination = new() { Adapters = adapters, Weights = [.. adapters.Select(_ => 1.0)], Type = type };
            adapted.Invoking(model => model.Combine(name, combination)).Should().Throw<T>().WithMessage(message);
            adapted.AdapterNames.Should().Equal(names);
            adapted.ActiveAdapters.Should().Equal("a");
            Dictionary<string, Tensor> after = model.state_dict();
            after.Keys.Should().Equal(before.Keys);
            after.Should().OnlyContain(entry => Reference.SameBits(entry.Value, before[entry.Key]));
        }
    }

    [Fact]
    public void Combine_ManyTimes_LeavesNoTensorBehind()
    {
        using MixedModel model = new();
        using AdaptedModel adapted = Two(model, firstIsDora: true, secondIsDora: false);
        Round();
        long before = LiveTensors.Count;
        for (int i = 0; i < 3; i++)
        {
            Round();
        }

        LiveTensors.Count.Should().Be(before);

        void Round()
        {
            adapted.Combine("sum", Of(CombinationType.Cat));
            adapted.Combine("drawn", Of(CombinationType.DareTiesSvd) with { Density = 0.5, Seed = 1 });
            adapted.Delete("sum");
            adapted.Delete("drawn");
        }
    }

    private static AdapterCombination Of(CombinationType type) => new() { Adapters = ["a", "b"], Weights = Weights, Type = type };

    private static AdaptedModel Two(MixedModel model, bool firstIsDora, bool secondIsDora, int rankOfSecond = 4)
    {
        AdaptedModel adapted = AdapterInjector.Inject(
            model, new() { Rank = 3, Alpha = 5, UseRsLora = true, UseDora = firstIsDora, TargetModules = MixedModel.Plain }, new() { AdapterName = "a" });
        adapted.Add("b", new() { Rank = rankOfSecond, Alpha = 2, UseDora = secondIsDora, TargetModules = MixedModel.Plain });
        int seed = 7;
        foreach ((_, AdapterStack stack) in adapted.Layers)
        {
            Reference.Disturb(stack, seed++);
            using var noGrad = no_grad();
            ((LoraAdapter)stack["a"]).A.normal_(0, 0.3);
            ((LoraAdapter)stack["b"]).A.normal_(0, 0.3);
        }

        return adapted;
    }

    private static Tensor WeightedSum(AdapterStack stack)
    {
        Tensor w = stack.Weight.Dense().detach().to(ScalarType.Float64).clone();
        Tensor sum = w.clone();
        foreach ((string name, double weight) in new[] { "a", "b" }.Zip(Weights))
        {
            if (stack.Find(name) is { } adapter)
            {
                sum += weight * (Reference.EffectiveWeight(w, Reference.Copy(adapter)) - w);
            }
        }

        return sum.detach();
    }
}
