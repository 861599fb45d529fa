using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DoraSharp.Tests.Injection;

/// <summary>What is refused, and that a refusal leaves the model as it was.</summary>
public partial class AdapterInjectorTests
{
    [Fact]
    public void Inject_TargetMatchesNothing_ListsNearMissesAndChangesNothing()
    {
        using OpenFields model = new();
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new() { TargetModules = ["dwon"] }))
            .Should().Throw<ArgumentException>().WithMessage("*'dwon'*Near misses: down, up*");
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new() { TargetModules = ["up", "dwon"] }))
            .Should().Throw<ArgumentException>().WithMessage("*'dwon'*AllowUnmatchedTargets*");
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new() { ExcludeModules = ["up", "down"] }))
            .Should().Throw<ArgumentException>().WithMessage("*ExcludeModules*");
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new() { TargetModules = "up_.*" }))
            .Should().Throw<ArgumentException>().WithMessage("*'up_.*'*");
        model.modules().Should().OnlyContain(m => m is Linear);
        model.parameters().Should().OnlyContain(p => p.requires_grad);

        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { TargetModules = ["up", "dwon"] }, new() { AllowUnmatchedTargets = true });
        adapted.Report.Unmatched.Should().Equal("TargetModules: 'dwon'");
    }

    [Fact]
    public void Inject_TargetIsNoLinear_NamesItsType()
    {
        using Stack model = new Stack(new OpenFields(), new OpenFields(), calls: true).Register();
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new() { TargetModules = ["first"] }))
            .Should().Throw<ArgumentException>().WithMessage("*first*OpenFields*");
    }

    [Fact]
    public void Inject_NoRegisteredLayers_SaysWhy()
    {
        using Stack model = new(new OpenFields(), new OpenFields(), calls: true);
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new())).Should().Throw<ArgumentException>().WithMessage("*RegisterComponents*");
    }

    [Fact]
    public void Inject_AdaptedAlready_IsRefused()
    {
        using OpenFields model = new();
        using AdaptedModel adapted = AdapterInjector.Inject(model, new());
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new())).Should().Throw<InvalidOperationException>().WithMessage("*adapted already*");
    }

    [Fact]
    public void Inject_SealedFieldWithoutProbe_NamesTheFieldAndTheWaysOut()
    {
        using SealedCalled model = new();
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new()))
            .Should().Throw<InvalidOperationException>().WithMessage("*up*SealedCalled.up*Linear*sealed*Probe*SealedRoute*");
        model.parameters().Should().OnlyContain(p => p.requires_grad);

        using AdaptedModel adapted = AdapterInjector.Inject(model, new(), new() { SealedRoute = InjectionRoute.Hook });
        adapted.Report.Sites.Should().OnlyContain(site => site.Route == InjectionRoute.Hook);
    }

    [Fact]
    public void Inject_NothingIsCalled_NamesTheLayerAndTheReason()
    {
        using var scope = NewDisposeScope();
        Module<Tensor, Tensor> model = Make("sealed, forwarded", calls: false);
        Tensor x = Input();
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new(), new() { Probe = () => model.forward(x) }))
            .Should().Throw<InvalidOperationException>().WithMessage("*first.up*forward(...) runs no hooks*model.call*");

        // One call at the top is enough: the weights are substituted around it.
        using AdaptedModel adapted = AdapterInjector.Inject(model, new(), new() { Probe = () => model.call(x) });
        adapted.Report.Sites.Should().OnlyContain(site => site.Route == InjectionRoute.SubstituteWeight);
    }

    [Fact]
    public void Inject_ProbeDoesNotReachALayer_NamesItAndLeavesTheModelAsItWas()
    {
        using var scope = NewDisposeScope();
        using Hidden model = new();
        Tensor x = Input();
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new(), new() { Probe = () => model.call(x) }))
            .Should().Throw<InvalidOperationException>().WithMessage("*unused*Hidden.unused*down*delegate*");
        model.modules().Should().OnlyContain(m => m is Linear);
        model.parameters().Should().OnlyContain(p => p.requires_grad);

        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { TargetModules = ["up"] }, new() { Probe = () => model.call(x) });
        adapted.Layers.Should().ContainSingle();
    }

    [Fact]
    public void Inject_ProbeOfSubstitutedWeightsWithoutGradient_SaysSo()
    {
        using var scope = NewDisposeScope();
        Module<Tensor, Tensor> model = Make("sealed, forwarded", calls: true);
        Tensor x = Input();
        Tensor Probe()
        {
            using var noGrad = no_grad();
            return model.call(x);
        }

        FluentActions.Invoking(() => AdapterInjector.Inject(model, new(), new() { Probe = Probe })).Should().Throw<InvalidOperationException>().WithMessage("*no gradient*no_grad*");
    }

    [Fact]
    public void Inject_LayerOfUnsupportedDtype_LeavesTheOthersAsTheyWere()
    {
        using OpenFields model = new();
        model.named_children().Last().module.to(ScalarType.ComplexFloat32);
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new())).Should().Throw<NotSupportedException>().WithMessage("*ComplexFloat32*");
        model.modules().Should().OnlyContain(m => m is Linear);
        model.parameters().Should().OnlyContain(p => p.requires_grad);
    }

    [Fact]
    public void Inject_NameOfTheAdaptersIsTaken_NamesTheLayer()
    {
        using SealedCalled model = new();
        model.add_module("down_adapters", Linear(2, 3));
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new() { TargetModules = ["up", "down"] }, new() { SealedRoute = InjectionRoute.Hook }))
            .Should().Throw<InvalidOperationException>().WithMessage("*down*'down_adapters'*");
        model.named_children().Select(c => c.name).Should().Equal("up", "down", "down_adapters");
        model.parameters().Should().OnlyContain(p => p.requires_grad);
    }

    [Fact]
    public void Inject_RootIsALinearLayer_PointsToFrom()
    {
        using Linear layer = Linear(3, 4);
        FluentActions.Invoking(() => AdapterInjector.Inject(layer, new())).Should().Throw<ArgumentException>().WithMessage("*DoraLinear.From*");
    }

    [Fact]
    public void SubstituteWeight_ForwardThrew_TheNextCallIsRight()
    {
        using var scope = NewDisposeScope();
        Module<Tensor, Tensor> model = Make("sealed, forwarded", calls: true);
        Tensor x = Input();
        using AdaptedModel adapted = Inject(model, x, dora: true);
        Disturb(adapted);
        Tensor expected = model.call(x);
        FluentActions.Invoking(() => model.call(randn(2, 5, dtype: ScalarType.Float64))).Should().Throw<Exception>();

        Reference.SameBits(model.call(x), expected).Should().BeTrue();
    }

    [Fact]
    public void SubstituteWeight_ForwardThrew_MergingStillTakesTheBaseWeight()
    {
        using var scope = NewDisposeScope();
        Module<Tensor, Tensor> model = Make("sealed, forwarded", calls: true);
        Tensor x = Input();
        using AdaptedModel adapted = Inject(model, x, dora: true);
        Disturb(adapted);
        Tensor expected = model.call(x);
        Tensor[] before = [.. BaseWeights(model).Select(p => p.detach().clone())];
        FluentActions.Invoking(() => model.call(randn(2, 5, dtype: ScalarType.Float64))).Should().Throw<Exception>();
        adapted.Merge();

        Reference.MaxRelativeError(model.call(x), expected).Should().BeLessThan(1e-12);
        adapted.Unload();
        BaseWeights(model).Zip(before, Reference.SameBits).Should().OnlyContain(same => same);
        model.modules().OfType<Linear>().Should().OnlyContain(l => ReferenceEquals(l.weight, l.get_parameter("weight")));
    }
}
