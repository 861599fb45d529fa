using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DoraSharp.Tests.Injection;

public partial class AdapterInjectorTests
{
    private static readonly Dictionary<string, (Func<Block> Make, InjectionRoute Up, InjectionRoute Down)> Kinds = new()
    {
        ["open fields"] = (() => new OpenFields(), InjectionRoute.Replace, InjectionRoute.Replace),
        ["open properties"] = (() => new OpenProperties(), InjectionRoute.Replace, InjectionRoute.Replace),
        ["dictionary"] = (() => new InDictionary(), InjectionRoute.Replace, InjectionRoute.Replace),
        ["Sequential"] = (() => new InSequential(), InjectionRoute.Replace, InjectionRoute.Replace),
        ["ModuleList"] = (() => new InModuleList(), InjectionRoute.Replace, InjectionRoute.Replace),
        ["ModuleDict"] = (() => new InModuleDict(), InjectionRoute.Replace, InjectionRoute.Replace),
        ["array and alias"] = (() => new InArrayWithAlias(), InjectionRoute.Replace, InjectionRoute.Replace),
        ["sealed, called"] = (() => new SealedCalled(), InjectionRoute.Hook, InjectionRoute.Hook),
        ["sealed, forwarded"] = (() => new SealedForwarded(), InjectionRoute.SubstituteWeight, InjectionRoute.SubstituteWeight),
        ["sealed, both"] = (() => new SealedMixed(), InjectionRoute.Hook, InjectionRoute.SubstituteWeight),
    };

    public static TheoryData<string, bool> KindsOfModels()
    {
        TheoryData<string, bool> data = [];
        foreach (string kind in Kinds.Keys)
        {
            data.Add(kind, false);
            data.Add(kind, true);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(KindsOfModels))]
    public void Inject_AnyWayOfHoldingLayers_AdaptsThemByTheExpectedRouteAsANoOp(string kind, bool dora)
    {
        using var scope = NewDisposeScope();
        Module<Tensor, Tensor> model = Make(kind, calls: true);
        Tensor x = Input();
        Tensor expected = model.call(x);
        using AdaptedModel adapted = Inject(model, x, dora);

        Reference.RelativeError(model.call(x), expected).Should().BeLessThan(kind.StartsWith("sealed", StringComparison.Ordinal) ? 1e-15 : double.Epsilon);
        adapted.Report.Sites.Select(site => site.Route).Should().Equal(Kinds[kind].Up, Kinds[kind].Down, Kinds[kind].Up, Kinds[kind].Down);
        adapted.Report.TrainableParameterCount.Should().Be(2 * ((2 * 4 * (24 + 40)) + (dora ? 24 + 40 : 0)));
        adapted.Report.TotalParameterCount.Should().Be(adapted.Report.TrainableParameterCount + (2 * ((2 * 24 * 40) + 24 + 40)));
        model.parameters().Where(p => p.requires_grad).Sum(p => p.numel()).Should().Be(adapted.Report.TrainableParameterCount);
    }

    [Theory]
    [MemberData(nameof(KindsOfModels))]
    public void Inject_TrainedAdapters_GiveOutputsAndGradientsOfTheDefinition(string kind, bool dora)
    {
        using var scope = NewDisposeScope();
        Module<Tensor, Tensor> model = Make(kind, calls: true);
        Tensor[] frozen = [.. model.parameters().Select(p => p.detach().clone())];
        Tensor x = Input().requires_grad_(true);
        using AdaptedModel adapted = Inject(model, x, dora);
        Disturb(adapted);

        model.call(x).square().sum().backward();
        Tensor xReference = Reference.Leaf(x);
        ReferenceAdapter[] adapters = [.. adapted.Layers.Select(layer => Reference.Copy(layer.Value["default"]))];
        Define(frozen, adapters, xReference).square().sum().backward();

        Reference.RelativeError(model.call(x), Define(frozen, adapters, xReference)).Should().BeLessThan(1e-12);
        Reference.RelativeError(x.grad!, xReference.grad!).Should().BeLessThan(1e-12);
        foreach (((_, AdapterStack stack), ReferenceAdapter expected) in adapted.Layers.Zip(adapters))
        {
            LoraAdapter adapter = (LoraAdapter)stack["default"];
            Reference.RelativeError(adapter.A.grad!, expected.A.grad!).Should().BeLessThan(1e-11);
            Reference.RelativeError(adapter.B.grad!, expected.B.grad!).Should().BeLessThan(1e-11);
            if (adapter.Magnitude is { } magnitude)
            {
                Reference.RelativeError(magnitude.grad!, expected.Magnitude!.grad!).Should().BeLessThan(1e-11);
            }
        }
    }

    [Theory]
    [MemberData(nameof(KindsOfModels))]
    public void Unload_AfterTraining_LeavesNoTrace(string kind, bool dora)
    {
        using var scope = NewDisposeScope();
        Module<Tensor, Tensor> model = Make(kind, calls: true);
        Tensor x = Input();
        Tensor expected = model.call(x);
        string[] keys = [.. model.state_dict().Keys];
        Type[] types = [.. model.modules().Select(m => m.GetType())];
        long tensors = LiveTensors.Count;
        AdaptedModel adapted = Inject(model, x, dora);
        Disturb(adapted);
        int hooked = adapted.Report.Sites.Count(site => site.Route == InjectionRoute.Hook);
        adapted.Dispose();
        adapted.Dispose();

        // TorchSharp counts the absent gradients of a probe (of layers that were not forwarded) as tensors.
        LiveTensors.Count.Should().BeInRange(tensors, tensors + hooked);
        Reference.SameBits(model.call(x), expected).Should().BeTrue();
        model.state_dict().Keys.Should().Equal(keys);
        model.modules().Select(m => m.GetType()).Should().Equal(types);
        model.parameters().Should().OnlyContain(p => p.requires_grad);
        adapted.Invoking(a => a.Layers).Should().Throw<ObjectDisposedException>();
    }

    [Theory]
    [MemberData(nameof(KindsOfModels))]
    public void MergeAndUnload_AfterTraining_GivesTheAdaptedOutputFromTheOriginalModules(string kind, bool dora)
    {
        using var scope = NewDisposeScope();
        Module<Tensor, Tensor> model = Make(kind, calls: true);
        Tensor x = Input();
        Type[] types = [.. model.modules().Select(m => m.GetType())];
        using AdaptedModel adapted = Inject(model, x, dora);
        Disturb(adapted);
        Tensor expected = model.call(x);
        Tensor[] before = [.. BaseWeights(model).Select(p => p.detach().clone())];

        adapted.Merge();
        Tensor merged = model.call(x);
        adapted.Unmerge();
        BaseWeights(model).Zip(before, Reference.SameBits).Should().OnlyContain(same => same);
        Tensor unmerged = model.call(x);
        adapted.MergeAndUnload();

        Reference.MaxRelativeError(merged, expected).Should().BeLessThan(1e-12);
        Reference.SameBits(unmerged, expected).Should().BeTrue();
        Reference.SameBits(model.call(x), merged).Should().BeTrue();
        model.modules().Select(m => m.GetType()).Should().Equal(types);
    }

    [Theory]
    [MemberData(nameof(KindsOfModels))]
    public void Inject_StateDict_KeepsTheOrderOfTheBaseAndRoundTrips(string kind, bool dora)
    {
        using var scope = NewDisposeScope();
        Module<Tensor, Tensor> model = Make(kind, calls: true);
        Tensor x = Input();
        string[] keys = [.. model.state_dict().Keys];
        using AdaptedModel adapted = Inject(model, x, dora);
        Disturb(adapted);
        Tensor expected = model.call(x);
        Dictionary<string, Tensor> saved = model.state_dict().ToDictionary(p => p.Key, p => p.Value.detach().clone());
        using (no_grad())
        {
            foreach (Parameter parameter in model.parameters())
            {
                parameter.zero_();
            }
        }

        model.load_state_dict(saved);

        saved.Keys.Where(key => !key.Contains("adapters", StringComparison.Ordinal)).Select(key => key.Replace(".base_layer", "", StringComparison.Ordinal)).Should().Equal(keys);
        saved.Keys.Should().Contain(model.named_parameters().Select(p => p.name));
        Reference.SameBits(model.call(x), expected).Should().BeTrue();
    }

    [Theory]
    [MemberData(nameof(KindsOfModels))]
    public void Inject_BinarySaveAndLoad_RoundTripsWithoutStaleNorms(string kind, bool dora)
    {
        using var scope = NewDisposeScope();
        Module<Tensor, Tensor> model = Make(kind, calls: true);
        Tensor x = Input();
        using AdaptedModel adapted = Inject(model, x, dora);
        Disturb(adapted);
        Tensor expected = model.call(x);
        using MemoryStream file = new();
        using BinaryWriter writer = new(file, System.Text.Encoding.UTF8, leaveOpen: true);
        model.save(writer);
        using (no_grad())
        {
            foreach (Parameter parameter in model.parameters())
            {
                parameter.mul_(1.5);
            }
        }

        Tensor other = model.call(x);
        file.Position = 0;
        model.load(file);

        Reference.RelativeError(other, expected).Should().BeGreaterThan(0.01);
        Reference.SameBits(model.call(x), expected).Should().BeTrue();
    }

    [Fact]
    public void Dispose_ModelFirst_IsHarmless()
    {
        foreach (string kind in Kinds.Keys)
        {
            using var scope = NewDisposeScope();
            Module<Tensor, Tensor> model = Make(kind, calls: true);
            Tensor x = Input();
            AdaptedModel adapted = Inject(model, x, dora: true);
            model.Dispose();
            adapted.Invoking(a => a.Dispose()).Should().NotThrow(kind);
        }
    }

    // TorchSharp's own ModuleDict cannot be moved: it looks its properties up by name and has two indexers.
    public static TheoryData<string, bool> KindsThatMove() =>
        [.. KindsOfModels().Select(row => row.Data).Where(data => data.Item1 != "ModuleDict")];

    [Theory]
    [MemberData(nameof(KindsThatMove))]
    public void Inject_ModelMovesAndSwitchesModes_AdaptersFollow(string kind, bool dora)
    {
        using var scope = NewDisposeScope();
        Module<Tensor, Tensor> model = Make(kind, calls: true);
        Tensor x = Input();
        using AdaptedModel adapted = Inject(model, x, dora);
        Disturb(adapted);
        Tensor expected = model.call(x);

        model.eval();
        adapted.Layers.Should().OnlyContain(layer => !layer.Value.training && !layer.Value["default"].training);
        model.train();
        adapted.Layers.Should().OnlyContain(layer => layer.Value.training && layer.Value["default"].training);
        model.to(ScalarType.Float32);
        Tensor y = model.call(x.to(ScalarType.Float32));

        y.dtype.Should().Be(ScalarType.Float32);
        Reference.RelativeError(y, expected).Should().BeLessThan(1e-6);
        adapted.TrainableParameters().Should().OnlyContain(p => p.dtype == ScalarType.Float32);
    }

    [Theory]
    [MemberData(nameof(KindsOfModels))]
    public void Train_TwoHundredSteps_KeepsTheLiveTensorCountFlat(string kind, bool dora)
    {
        using var outer = NewDisposeScope();
        Module<Tensor, Tensor> model = Make(kind, calls: true);
        Tensor x = Input();
        Tensor target = randn(x.shape, dtype: ScalarType.Float64);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 4, UseDora = dora, Dropout = 0.1 }, new() { Probe = () => model.call(x) });
        using var optimizer = optim.AdamW(adapted.TrainableParameters(), lr: 1e-2);
        double first = Step();
        Step();
        long tensors = LiveTensors.Count;
        double last = 0;
        for (int i = 0; i < 200; i++)
        {
            last = Step();
        }

        LiveTensors.Count.Should().Be(tensors);
        last.Should().BeLessThan(first);

        double Step()
        {
            // TorchSharp's optimizers leave handles behind; the model gets no scope to hide its own in.
            using (NewDisposeScope())
            {
                optimizer.zero_grad();
            }

            using Tensor y = model.call(x);
            using Tensor loss = functional.mse_loss(y, target);
            loss.backward();
            using (NewDisposeScope())
            {
                optimizer.step();
            }

            return loss.item<double>();
        }
    }

    [Fact]
    public void Disable_InAScope_GivesTheBaseOutputAndBringsTheAdaptersBack()
    {
        using var scope = NewDisposeScope();
        foreach (string kind in Kinds.Keys)
        {
            Module<Tensor, Tensor> model = Make(kind, calls: true);
            Tensor x = Input();
            Tensor bare = model.call(x);
            using AdaptedModel adapted = Inject(model, x, dora: true);
            Disturb(adapted);
            Tensor expected = model.call(x);
            using (adapted.Disable())
            {
                Reference.SameBits(model.call(x), bare).Should().BeTrue(kind);
            }

            Reference.SameBits(model.call(x), expected).Should().BeTrue(kind);
        }
    }

    [Fact]
    public void Inject_ModuleInTwoFields_ReplacesBothAndReportsTheAlias()
    {
        using InArrayWithAlias model = new();
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { TargetModules = ["up"] });

        adapted.Report.Sites.Should().ContainSingle().Which.Aliases.Should().Equal("again");
        adapted.Report.ToString().Should().Contain("up: 24 -> 40, LoRA rank 8, alpha 8, Replace").And.Contain("also as again");
        model.named_children().Where(c => c.name is "up" or "again").Should().OnlyContain(c => c.module is AdaptedLinear);
    }

    [Fact]
    public void Inject_PatternsForRankAndAlpha_HoldWhereTheyMatch()
    {
        using OpenFields model = new();
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 4, Alpha = 8, RankPattern = [new("up", 2)], AlphaPattern = [new("^down", 3)] });

        adapted.Report.Sites.Select(s => (s.Path, ((LoraOptions)s.Options).Rank, ((LoraOptions)s.Options).Alpha)).Should().Equal(("up", 2, 8), ("down", 4, 3));
        ((LoraAdapter)adapted.Layers[0].Value["default"]).A.shape.Should().Equal(2, 24);
    }

    [Fact]
    public void Inject_SealedLayersInvokedOnSeveralWays_AreAdaptedOnAllOfThem()
    {
        using var scope = NewDisposeScope();
        manual_seed(42);
        foreach (Module<Tensor, Tensor> model in (Module<Tensor, Tensor>[])[new SealedBothWays(), new SealedShared(), new InReadOnlyList()])
        {
            Tensor x = Input();
            using AdaptedModel adapted = Inject(model, x, dora: true);
            Disturb(adapted);
            Tensor expected = model.call(x);
            adapted.Merge();

            Reference.MaxRelativeError(model.call(x), expected).Should().BeLessThan(1e-12, model.GetType().Name);
        }
    }

    [Fact]
    public void Call_UsersHookKeepsTheBaseOutput_LeavesItAlive()
    {
        using var scope = NewDisposeScope();
        foreach ((string kind, Module<Tensor, Tensor> model) in ((string, Module<Tensor, Tensor>)[])[("replaced", Sequential(Linear(24, 24, dtype: ScalarType.Float64))), ("hooked", new SealedPlain())])
        {
            Linear layer = model.modules().OfType<Linear>().First();
            Tensor? kept = null;
            layer.register_forward_hook((_, _, y) => kept = y);
            Tensor x = Input();
            using AdaptedModel adapted = Inject(model, x, dora: false);
            model.call(x);

            kept!.IsInvalid.Should().BeFalse(kind);
        }
    }

    private static Module<Tensor, Tensor> Make(string kind, bool calls)
    {
        manual_seed(41);
        return new Stack(Kinds[kind].Make(), Kinds[kind].Make(), calls).Register();
    }

    private static Tensor Input() => randn(3, 7, 24, dtype: ScalarType.Float64);

    private static AdaptedModel Inject(Module<Tensor, Tensor> model, Tensor x, bool dora) =>
        AdapterInjector.Inject(model, new() { Rank = 4, Alpha = 6, UseDora = dora }, new() { Probe = () => model.call(x) });

    private static void Disturb(AdaptedModel adapted)
    {
        int seed = 1;
        foreach ((_, AdapterStack stack) in adapted.Layers)
        {
            Reference.Disturb(stack, seed++);
        }
    }

    private static IEnumerable<Parameter> BaseWeights(Module model) =>
        model.named_parameters().Where(p => !p.name.Contains("adapters", StringComparison.Ordinal)).Select(p => p.parameter);

    /// <summary>The two blocks by their definition; the parameters are up's and down's weight and bias, twice.</summary>
    private static Tensor Define(Tensor[] frozen, ReferenceAdapter[] adapters, Tensor x)
    {
        for (int block = 0; block < 2; block++)
        {
            Tensor up = Reference.EffectiveWeight(frozen[4 * block], adapters[2 * block]);
            Tensor down = Reference.EffectiveWeight(frozen[(4 * block) + 2], adapters[(2 * block) + 1]);
            x = x + (x.matmul(up.t()) + frozen[(4 * block) + 1]).tanh().matmul(down.t()) + frozen[(4 * block) + 3];
        }

        return x;
    }
}
