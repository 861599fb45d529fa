using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection.Lifecycle;

/// <summary>Adapters whose initialization takes their update out of the base weight.</summary>
public class AdjustedBaseTests
{
    public static TheoryData<string, bool> Methods()
    {
        TheoryData<string, bool> data = [];
        foreach (string method in (string[])["pissa", "olora"])
        {
            data.Add(method, false);
            data.Add(method, true);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Methods))]
    public void Unload_GivesBackTheOriginalBits(string method, bool dora)
    {
        using var scope = NewDisposeScope();
        using MixedModel model = MixedModel.Make();
        Tensor x = MixedModel.Input();
        Tensor bare = model.call(x);
        Tensor[] before = [.. model.parameters().Select(p => p.detach().clone())];
        Tensor up = model.named_parameters().Single(p => p.name == "up.weight").parameter.detach().clone();
        AdaptedModel adapted = Inject(model, method, dora);
        Reference.RelativeError(model.call(x), bare).Should().BeLessThan(1e-12);
        model.named_parameters().Single(p => p.name == "up.base_layer.weight").parameter.allclose(up).Should().BeFalse("the base is what the adapter left of it");
        Training.Disturb(adapted, "a");
        Tensor y = model.call(x);

        adapted.Merge();
        Reference.RelativeError(model.call(x), y).Should().BeLessThan(1e-12);
        adapted.Unmerge();
        Reference.SameBits(model.call(x), y).Should().BeTrue();
        adapted.Merge();
        adapted.Unload();

        model.parameters().Zip(before, Reference.SameBits).Should().OnlyContain(same => same);
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        model.parameters().Should().OnlyContain(p => p.requires_grad);
    }

    [Theory]
    [MemberData(nameof(Methods))]
    public void MergeAndUnload_KeepsTheSum(string method, bool dora)
    {
        using var scope = NewDisposeScope();
        using MixedModel model = MixedModel.Make();
        Tensor x = MixedModel.Input();
        using AdaptedModel adapted = Inject(model, method, dora);
        Training.Disturb(adapted, "a");
        Tensor y = model.call(x);
        adapted.MergeAndUnload();
        Reference.RelativeError(model.call(x), y).Should().BeLessThan(1e-12);
        adapted.Dispose();
        Reference.RelativeError(model.call(x), y).Should().BeLessThan(1e-12);
    }

    [Theory]
    [MemberData(nameof(Methods))]
    public void DeleteRenameAndHotSwap_RestoreTheOriginalBase(string method, bool dora)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using MixedModel model = MixedModel.Make();
        Tensor x = MixedModel.Input();
        Tensor bare = model.call(x);
        using AdaptedModel adapted = Inject(model, method, dora);
        Tensor residual = adapted.Layers[0].Value.Weight.Dense().clone();
        Training.Disturb(adapted, "a");
        Tensor y = model.call(x);
        adapted.Save(folder.Path);
        adapted.Rename("a", "z");
        Reference.SameBits(model.call(x), y).Should().BeTrue();
        adapted.Add("b", new() { Rank = 2, TargetModules = ["up"] });
        adapted.Activate("b");
        Reference.SameBits(adapted.Layers[0].Value.Weight.Dense(), residual).Should().BeTrue();

        adapted.Delete("z");
        Reference.SameBits(model.call(x), bare).Should().BeTrue("b is fresh, and the base is the original one");

        // The file is made again over the original base.
        MixedModel other = MixedModel.Make();
        Reference.RelativeError(Training.Solo(other, folder.File("a"), x), y).Should().BeLessThan(1e-12);
        Reference.SameBits(other.call(x), bare).Should().BeTrue();

        using MixedModel third = MixedModel.Make();
        using AdaptedModel swapped = Inject(third, method, dora);
        swapped.SavePlain(folder.Path);
        swapped.HotSwap("a", folder.File("a"));
        Reference.RelativeError(third.call(x), bare).Should().BeLessThan(1e-11, "the plain adapter of an untrained one changes nothing");
        swapped.Unload();
        Reference.SameBits(third.call(x), bare).Should().BeTrue();
    }

    [Fact]
    public void Inject_FailsAtALaterLayer_RestoresTheBaseOfTheEarlierOnes()
    {
        using var scope = NewDisposeScope();
        using MixedModel model = MixedModel.Make();
        Tensor x = MixedModel.Input();
        Tensor bare = model.call(x);
        long live = LiveTensors.Count;

        // The head has 9 outputs, so that it has no 10 singular triples.
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new() { Rank = 10, Initialization = LoraInitialization.Pissa, TargetModules = ["up", "down"] }))
            .Should().Throw<ArgumentException>().WithMessage("*10*");
        LiveTensors.Count.Should().Be(live);
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        model.parameters().Should().OnlyContain(p => p.requires_grad);
    }

    private static AdaptedModel Inject(MixedModel model, string method, bool dora) => AdapterInjector.Inject(
        model,
        new() { Rank = 3, Alpha = 4.5, UseDora = dora, TargetModules = ["up", "down"], Initialization = method == "pissa" ? LoraInitialization.Pissa : LoraInitialization.Olora },
        new() { AdapterName = "a" });
}
