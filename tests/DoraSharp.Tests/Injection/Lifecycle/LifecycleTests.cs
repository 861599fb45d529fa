using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection.Lifecycle;

public class LifecycleTests
{
    private static readonly LoraOptions LinearLora = new() { Rank = 3, Alpha = 5, TargetModules = ["up", "down"] };
    private static readonly LoraOptions MixedDora = new() { Rank = 2, UseDora = true, TargetModules = ["embed", "conv", "up"] };

    [Fact]
    public void Add_OtherTargets_ChangesNothingUntilItIsActivated()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using MixedModel model = MixedModel.Make();
        Tensor x = MixedModel.Input();
        Tensor bare = model.call(x);
        using AdaptedModel adapted = Inject(model, LinearLora);
        Training.Disturb(adapted, "a");
        Tensor before = model.call(x);

        InjectionReport report = adapted.Add("b", MixedDora);

        report.Sites.Select(site => site.Path).Should().BeEquivalentTo("embed", "conv", "up");
        adapted.AdapterNames.Should().Equal("a", "b");
        adapted.ActiveAdapters.Should().Equal("a");
        Reference.SameBits(model.call(x), before).Should().BeTrue();
        Trained(adapted, "b").Should().OnlyContain(p => !p.requires_grad);
        Trained(adapted, "a").Should().OnlyContain(p => p.requires_grad);

        adapted.Activate("b");
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        Training.Disturb(adapted, "b");
        Tensor onlyB = model.call(x);
        adapted.Save(folder.Path, adapterName: "b");
        Reference.SameBits(onlyB, Training.Solo(MixedModel.Make(), folder.File("b"), x)).Should().BeTrue();
        Trained(adapted, "a").Should().OnlyContain(p => !p.requires_grad);
        adapted.TrainableParameters().Should().BeEquivalentTo(Trained(adapted, "b"), options => options.ComparingByValue<Parameter>());

        adapted.Activate();
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        adapted.TrainableParameters().Should().BeEmpty();
        adapted.Activate("a");
        Reference.SameBits(model.call(x), before).Should().BeTrue();
    }

    [Fact]
    public void Activate_Several_MergesToTheSameInEitherOrder()
    {
        using var scope = NewDisposeScope();
        using MixedModel model = MixedModel.Make();
        Tensor x = MixedModel.Input();
        using AdaptedModel adapted = Inject(model, LinearLora);
        adapted.Add("b", MixedDora);
        Training.Disturb(adapted, "a");
        Training.Disturb(adapted, "b");
        List<Tensor> outputs = [];
        foreach (string[] names in (string[][])[["a", "b"], ["b", "a"]])
        {
            adapted.Activate(names);
            outputs.Add(model.call(x));
            adapted.Merge();
            Reference.RelativeError(model.call(x), outputs[^1]).Should().BeLessThan(1e-12);
            adapted.Unmerge();
            Reference.SameBits(model.call(x), outputs[^1]).Should().BeTrue();
        }

        Reference.RelativeError(outputs[0], outputs[1]).Should().BeGreaterThan(1e-4);
    }

    [Fact]
    public void Disable_NestedThrowingAndOutOfOrder_GivesTheBaseUntilTheLastScopeEnds()
    {
        using var scope = NewDisposeScope();
        using MixedModel model = MixedModel.Make();
        Tensor x = MixedModel.Input();
        Tensor bare = model.call(x);
        using AdaptedModel adapted = Inject(model, LinearLora);
        Training.Disturb(adapted, "a");
        Tensor trained = model.call(x);
        FluentActions.Invoking(() =>
        {
            using (adapted.Disable())
            {
                using (adapted.Disable())
                {
                    Reference.SameBits(model.call(x), bare).Should().BeTrue();
                }

                Reference.SameBits(model.call(x), bare).Should().BeTrue();
                throw new TimeoutException();
            }
        }).Should().Throw<TimeoutException>();
        Reference.SameBits(model.call(x), trained).Should().BeTrue();

        IDisposable first = adapted.Disable();
        IDisposable second = adapted.Disable();
        first.Dispose();
        first.Dispose();
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        second.Dispose();
        Reference.SameBits(model.call(x), trained).Should().BeTrue();
        adapted.Invoking(a => a.Merge()).Should().NotThrow();
    }

    [Fact]
    public void Disable_LifecycleWithinTheScope_StaysTheBaseAndHoldsAfterwards()
    {
        using var scope = NewDisposeScope();
        using MixedModel model = MixedModel.Make();
        Tensor x = MixedModel.Input();
        Tensor bare = model.call(x);
        using AdaptedModel adapted = Inject(model, LinearLora with { Bias = BiasTraining.All });
        Training.Disturb(adapted, "a");
        using (adapted.Disable())
        {
            adapted.Add("b", MixedDora with { ModulesToSave = ["norm"] });
            Training.Disturb(adapted, "b");
            adapted.Activate("b");
            Reference.SameBits(model.call(x), bare).Should().BeTrue("b is switched off as well");
            adapted.Rename("b", "c");
            adapted.SetScale("c", 2);
            adapted.Delete("a");
            Reference.SameBits(model.call(x), bare).Should().BeTrue("an operation does not switch adapters on");
            adapted.Invoking(a => a.Merge()).Should().Throw<InvalidOperationException>().WithMessage("*switched off*");
        }

        adapted.ActiveAdapters.Should().Equal("c");
        Reference.RelativeError(model.call(x), bare).Should().BeGreaterThan(1e-3);
    }

    [Fact]
    public void Delete_ActiveAndInactive_FreesItsMemoryAndLeavesTheOthers()
    {
        using var scope = NewDisposeScope();
        using MixedModel model = MixedModel.Make();
        Tensor x = MixedModel.Input();
        Tensor bare = model.call(x);
        using AdaptedModel adapted = Inject(model, LinearLora);
        Training.Disturb(adapted, "a");
        Tensor onlyA = model.call(x);
        adapted.Add("b", MixedDora);
        adapted.Delete("b");
        long live = LiveTensors.Count;
        adapted.Add("b", MixedDora with { Bias = BiasTraining.All, ModulesToSave = ["norm"] });
        Training.Disturb(adapted, "b");

        adapted.Activate("a", "b");
        model.call(x).Dispose();
        adapted.Delete("b");
        adapted.ActiveAdapters.Should().Equal("a");
        adapted.AdapterNames.Should().Equal("a");
        LiveTensors.Count.Should().Be(live);
        Reference.SameBits(model.call(x), onlyA).Should().BeTrue();
        model.state_dict().Keys.Should().NotContain(key => key.Contains(".b.", StringComparison.Ordinal));

        adapted.Add("b", MixedDora);
        adapted.Activate("b");
        adapted.Delete("b");
        adapted.ActiveAdapters.Should().Equal(["a"], "the last active one went, so the first of those left acts");
        adapted.Add("b", MixedDora);
        adapted.Activate();
        adapted.Delete("b");
        adapted.ActiveAdapters.Should().BeEmpty("deleting what is not active switches nothing on");
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        adapted.Invoking(a => a.Delete("a")).Should().Throw<InvalidOperationException>().WithMessage("*only adapter*Unload*");
    }

    [Fact]
    public void Rename_ActiveAdapter_KeepsOutputOrderScaleAndFile()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using MixedModel model = MixedModel.Make();
        Tensor x = MixedModel.Input();
        using AdaptedModel adapted = Inject(model, LinearLora with { Bias = BiasTraining.All });
        adapted.Add("b", MixedDora);
        adapted.Activate("a", "b");
        Training.Disturb(adapted, "a");
        Training.Disturb(adapted, "b");
        adapted.SetScale("a", 1.5);
        Tensor before = model.call(x);
        string[] keys = [.. model.state_dict().Keys];
        adapted.Save(folder.Path, adapterName: "a");

        adapted.Rename("a", "z");

        adapted.AdapterNames.Should().Equal("z", "b");
        adapted.ActiveAdapters.Should().Equal("z", "b");
        model.state_dict().Keys.Should().Equal(keys.Select(key => key.Replace("adapters.a.", "adapters.z.", StringComparison.Ordinal)));
        Reference.SameBits(model.call(x), before).Should().BeTrue();
        adapted.Save(folder.Path, adapterName: "z");
        File.ReadAllBytes(folder.File("z/adapter_model.safetensors")).Should().Equal(File.ReadAllBytes(folder.File("a/adapter_model.safetensors")));
        adapted.Activate("b");
        adapted.Activate("z", "b");
        Reference.SameBits(model.call(x), before).Should().BeTrue();
        adapted.Invoking(a => a.SetScale("a", 1)).Should().Throw<KeyNotFoundException>().WithMessage("*'a'*z, b*");
    }

    [Fact]
    public void Vera_RenamedSwappedAndDeleted_NeverClashesWithItsOwnProjections()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using MixedModel model = MixedModel.Make();
        Tensor x = MixedModel.Input();
        using AdaptedModel adapted = Inject(model, LinearLora);
        VeraOptions vera = new() { Rank = 6, TargetModules = ["up", "down"] };
        adapted.Add("warm", LinearLora);
        adapted.Delete("warm");
        long live = LiveTensors.Count;
        using var rounds = NewDisposeScope();
        adapted.AddVera("v", vera);
        adapted.Activate("v");
        Training.Disturb(adapted, "v");
        Tensor trained = model.call(x);
        model.state_dict().Keys.Where(key => key.Contains("vera_A", StringComparison.Ordinal)).Should().Equal("vera_projections_v.vera_A");
        adapted.Save(folder.Path, adapterName: "v");
        adapted.Rename("v", "w");
        Reference.SameBits(model.call(x), trained).Should().BeTrue();
        adapted.AddVera("v", vera with { ProjectionKey = 9 });
        Reference.SameBits(model.call(x), trained).Should().BeTrue();
        for (int i = 0; i < 3; i++)
        {
            adapted.HotSwap("w", folder.File("v"));
            Reference.SameBits(model.call(x), trained).Should().BeTrue();
        }

        // A layer that gives its adapter up leaves the others what they share.
        adapted.Activate("v");
        adapted.Layers[0].Value.Delete("v");
        model.call(x).shape.Should().Equal(trained.shape);
        adapted.Delete("w");
        adapted.Delete("v");
        model.state_dict().Keys.Should().NotContain(key => key.Contains("vera", StringComparison.Ordinal));
        rounds.Dispose();
        LiveTensors.Count.Should().Be(live);
    }

    [Fact]
    public void SetScaleAndScaleLayers_MultiplyTheUpdate()
    {
        using var scope = NewDisposeScope();
        using MixedModel model = MixedModel.Make();
        using AdaptedModel adapted = Inject(model, LinearLora);
        adapted.Add("b", MixedDora);
        Training.Disturb(adapted, "a");
        Training.Disturb(adapted, "b");
        AdapterStack down = adapted.Layers.First(layer => layer.Key == "down").Value;
        AdapterStack conv = adapted.Layers.First(layer => layer.Key == "conv").Value;
        Tensor weight = down.Weight.Dense().clone();
        Tensor update = down.EffectiveWeight() - weight;

        adapted.SetScale("a", -2);
        Reference.RelativeError(down.EffectiveWeight() - weight, update * -2).Should().BeLessThan(1e-12);
        adapted.ScaleLayers(3);
        Reference.RelativeError(down.EffectiveWeight() - weight, update * -6).Should().BeLessThan(1e-12);
        ((LowRankAdapter)conv["b"]).Scale.Should().Be(1, "b is not active");
        adapted.UnscaleLayers(2);
        Reference.RelativeError(down.EffectiveWeight() - weight, update * -3).Should().BeLessThan(1e-12);
        adapted.UnscaleLayers();
        Reference.SameBits(down.EffectiveWeight() - weight, update).Should().BeTrue();

        adapted.Activate("b");
        adapted.SetScale("b", 0);
        Tensor magnitude = ((LowRankAdapter)conv["b"]).Magnitude!;
        Tensor frozen = conv.Weight.Dense();
        Tensor expected = (magnitude / linalg.vector_norm(frozen, ord: 2, dims: [1])).unsqueeze(1) * frozen;
        Reference.RelativeError(conv.EffectiveWeight(), expected).Should().BeLessThan(1e-12, "a magnitude stays and its norm follows");
    }

    [Fact]
    public void HotSwap_OtherKindRankAndTargets_TakesThePlaceOfTheOldOne()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using MixedModel model = MixedModel.Make();
        Tensor x = MixedModel.Input();
        string[] kinds = ["dora", "vera", "lora"];
        Tensor[] expected = new Tensor[kinds.Length];
        using (AdaptedModel source = Inject(MixedModel.Make(), MixedDora with { Rank = 5, ModulesToSave = ["norm"] }, "dora"))
        {
            Training.Disturb(source, "dora");
            source.AddVera("vera", new() { Rank = 7, UseDora = true, TargetModules = ["down", "conv"], Bias = BiasTraining.LoraOnly });
            source.Add("lora", LinearLora with { Rank = 1, UseRsLora = true, LoraBias = true });
            foreach ((string kind, int index) in kinds.Select((kind, index) => (kind, index)))
            {
                source.Activate(kind);
                Training.Disturb(source, kind, seed: 20 + index);
                source.Save(folder.Path, adapterName: kind);
                expected[index] = Training.Solo(MixedModel.Make(), folder.File(kind), x);
            }
        }

        using AdaptedModel adapted = Inject(model, LinearLora);
        adapted.Add("other", MixedDora);
        Training.Disturb(adapted, "other");
        adapted.SetScale("a", 3);
        foreach ((string kind, Tensor output) in kinds.Zip(expected))
        {
            adapted.HotSwap("a", folder.File(kind));
            Reference.SameBits(model.call(x), output).Should().BeTrue(kind);
            adapted.AdapterNames.Should().Equal(["a", "other"], "the swapped adapter keeps its place");
            adapted.ActiveAdapters.Should().Equal("a");
            adapted.Report.Sites.Select(site => site.Path).Should().NotBeEmpty().And.BeSubsetOf(adapted.Layers.Select(layer => layer.Key));
            adapted.Options.Summary.Should().StartWith(kind == "dora" ? "DoRA rank 5" : kind == "vera" ? "DVoRA rank 7" : "LoRA rank 1");
        }

        adapted.Activate("other", "a");
        Tensor both = model.call(x);
        adapted.HotSwap("other", folder.File("dora"));
        adapted.ActiveAdapters.Should().Equal("other", "a");
        adapted.Activate("a");
        Reference.SameBits(model.call(x), expected[2]).Should().BeTrue();
        both.Dispose();
    }

    [Fact]
    public void LoadAdapter_FromAFolder_IsWhatItWasAlone()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using MixedModel model = MixedModel.Make();
        Tensor x = MixedModel.Input();
        using (AdaptedModel source = Inject(MixedModel.Make(), MixedDora, "b"))
        {
            Training.Disturb(source, "b");
            source.Save(folder.Path);
        }

        Tensor expected = Training.Solo(MixedModel.Make(), folder.File("b"), x);
        using AdaptedModel adapted = Inject(model, LinearLora);
        Training.Disturb(adapted, "a");
        Tensor onlyA = model.call(x);
        adapted.LoadAdapter("loaded", folder.File("b"));
        Reference.SameBits(model.call(x), onlyA).Should().BeTrue();
        adapted.Activate("loaded");
        Reference.SameBits(model.call(x), expected).Should().BeTrue();
        adapted.Unload();
        model.named_parameters().Select(p => p.name).Should().Equal(MixedModel.Make().named_parameters().Select(p => p.name));
    }

    private static AdaptedModel Inject(MixedModel model, LoraOptions options, string name = "a") => AdapterInjector.Inject(model, options, new() { AdapterName = name });

    private static IEnumerable<Parameter> Trained(AdaptedModel adapted, string name) =>
        adapted.Layers.Where(layer => layer.Value.Names.Contains(name)).SelectMany(layer => layer.Value[name].parameters());
}
