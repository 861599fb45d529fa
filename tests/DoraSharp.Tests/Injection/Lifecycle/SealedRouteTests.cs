using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection.Lifecycle;

/// <summary>Further adapters on layers that are hooked or run on a substituted weight, which the first one does not have.</summary>
public class SealedRouteTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Add_LayersOfOtherRoutes_FoldsAndUnloadsWithoutATrace(bool dora)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using SealedModel model = SealedModel.Make();
        Tensor x = SealedModel.Input();
        Tensor bare = model.call(x);
        string[] keys = [.. model.state_dict().Keys];
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { TargetModules = ["open"] }, new() { AdapterName = "a", Probe = () => model.call(x) });
        Training.Disturb(adapted, "a");
        Tensor onlyA = model.call(x);

        InjectionReport report = adapted.Add("b", new() { Rank = 3, UseDora = dora, TargetModules = ["open", "called", "forwarded"] });

        report.Sites.Select(site => site.Route).Should().Equal(InjectionRoute.Replace, InjectionRoute.Hook, InjectionRoute.SubstituteWeight);
        Reference.SameBits(model.call(x), onlyA).Should().BeTrue();
        adapted.Activate("b");
        Training.Disturb(adapted, "b");
        Tensor onlyB = model.call(x);
        onlyB.sum().backward();
        adapted.TrainableParameters().Should().HaveCount(dora ? 9 : 6).And.OnlyContain(p => !ReferenceEquals(p.grad, null));
        adapted.Save(folder.Path, adapterName: "b");
        SealedModel fresh = SealedModel.Make();
        Reference.SameBits(Training.Solo(fresh, folder.File("b"), x, new() { Probe = () => fresh.call(x) }), onlyB).Should().BeTrue();

        foreach (string[] names in (string[][])[["a", "b"], ["b", "a"]])
        {
            adapted.Activate(names);
            Tensor y = model.call(x);
            adapted.Merge();
            Reference.RelativeError(model.call(x), y).Should().BeLessThan(1e-12);
            adapted.Unmerge();
            Reference.SameBits(model.call(x), y).Should().BeTrue();
        }

        using (adapted.Disable())
        {
            Reference.SameBits(model.call(x), bare).Should().BeTrue();
        }

        adapted.Delete("b");
        Reference.SameBits(model.call(x), onlyA).Should().BeTrue();
        adapted.Unload();
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        model.state_dict().Keys.Should().Equal(keys);
        model.parameters().Should().OnlyContain(p => p.requires_grad);
    }

    [Fact]
    public void LoadAdapter_SealedLayersOfItsOwn_AreProbedAlthoughItIsNotActive()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        SealedModel fresh = SealedModel.Make();
        Tensor x = SealedModel.Input();
        using (AdaptedModel source = AdapterInjector.Inject(fresh, new() { UseDora = true, TargetModules = ["called", "forwarded"] }, new() { Probe = () => fresh.call(x) }))
        {
            Training.Disturb(source, "default");
            source.Save(folder.Path);
        }

        Tensor expected;
        using (AdaptedModel source = AdaptedModel.Load(fresh, folder.Path, new() { Probe = () => fresh.call(x) }))
        {
            expected = fresh.call(x);
        }

        foreach (string[] active in (string[][])[["a"], []])
        {
            using SealedModel model = SealedModel.Make();
            using AdaptedModel adapted = AdapterInjector.Inject(model, new() { TargetModules = ["open"] }, new() { AdapterName = "a", Probe = () => model.call(x) });
            adapted.Activate(active);
            Training.Disturb(adapted, "a");
            Tensor before = model.call(x);

            adapted.LoadAdapter("b", folder.Path);

            adapted.ActiveAdapters.Should().Equal(active);
            Reference.SameBits(model.call(x), before).Should().BeTrue();
            adapted.Activate("b");
            Reference.SameBits(model.call(x), expected).Should().BeTrue();
            adapted.HotSwap("b", folder.Path);
            adapted.HotSwap("a", folder.Path);
            adapted.Activate("a");
            Reference.SameBits(model.call(x), expected).Should().BeTrue();
        }
    }

    [Fact]
    public void LoadAdapter_ProbeDoesNotReachItsLayer_LeavesTheModelAsItWas()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using Hidden model = new();
        Tensor x = randn(3, 24, dtype: ScalarType.Float64);
        using (AdaptedModel source = AdapterInjector.Inject(new Hidden(), new() { TargetModules = ["up", "unused"] }))
        {
            source.Save(folder.Path);
        }

        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { TargetModules = ["up"] }, new() { AdapterName = "a", Probe = () => model.call(x) });
        Training.Disturb(adapted, "a");
        ModelState state = new(adapted, () => model.call(x));

        state.ShouldSurvive<InvalidOperationException>(a => a.LoadAdapter("b", folder.Path), "*did not reach unused*Nothing was changed*");
        state.ShouldSurvive<InvalidOperationException>(a => a.HotSwap("a", folder.Path), "*did not reach unused*Nothing was changed*");
    }

    [Fact]
    public void Inject_LoraBiasOnASubstitutedWeight_IsRefused()
    {
        using var scope = NewDisposeScope();
        using SealedModel model = SealedModel.Make();
        Tensor x = SealedModel.Input();
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new() { LoraBias = true, TargetModules = ["open", "forwarded"] }, new() { Probe = () => model.call(x) }))
            .Should().Throw<NotSupportedException>().WithMessage("*forwarded*LoraBias*");
        model.modules().Should().NotContain(m => m is AdapterStack);
        model.parameters().Should().OnlyContain(p => p.requires_grad);
    }
}
