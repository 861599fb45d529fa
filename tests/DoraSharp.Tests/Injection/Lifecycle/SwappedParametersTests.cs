using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection.Lifecycle;

/// <summary>Biases and whole modules that train with an adapter: values of its own, which come and go with it.</summary>
public partial class SwappedParametersTests
{
    private static readonly LoraOptions Biases = new() { Rank = 2, TargetModules = ["up"], Bias = BiasTraining.All };
    private static readonly LoraOptions Modules = new() { Rank = 2, TargetModules = ["up"], ModulesToSave = ["norm", "down", "embed", "batch"] };

    public static TheoryData<string> Kinds() => ["biases", "modules", "lora only"];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Activate_EachAdapter_BringsItsOwnValues(string kind)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using TrainedModel model = TrainedModel.Make();
        Tensor x = TrainedModel.Input();
        Tensor bare = model.call(x);
        Tensor[] parameters = [.. model.parameters().Select(p => p.detach().clone())];
        using AdaptedModel adapted = AdapterInjector.Inject(model, Of(kind), new() { AdapterName = "a" });
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        Dictionary<string, Tensor> outputs = new() { ["a"] = Trained(adapted, "a", x) };
        adapted.Add("b", Of(kind));
        Reference.SameBits(model.call(x), outputs["a"]).Should().BeTrue();
        adapted.Activate("b");
        Reference.SameBits(model.call(x), bare).Should().BeTrue("b starts from the base's values, not from a's");
        outputs["b"] = Trained(adapted, "b", x);
        adapted.Add("plain", Of(kind) with { Bias = BiasTraining.None, ModulesToSave = [] });

        foreach (string name in (string[])["a", "b", "a"])
        {
            adapted.Activate(name);
            Reference.SameBits(model.call(x), outputs[name]).Should().BeTrue(name);
            adapted.Activate("plain", name);
            Reference.SameBits(model.call(x), outputs[name]).Should().BeTrue("a fresh adapter beside it changes nothing");
            using (adapted.Disable())
            {
                Reference.SameBits(model.call(x), bare).Should().BeTrue();
            }

            adapted.Activate("plain");
            Reference.SameBits(model.call(x), bare).Should().BeTrue();
            adapted.Activate();
            Reference.SameBits(model.call(x), bare).Should().BeTrue();

            // What is not active is saved as well as what is.
            adapted.Save(folder.Path, adapterName: name);
            Reference.SameBits(Training.Solo(TrainedModel.Make(), folder.File(name), x), outputs[name]).Should().BeTrue();
        }

        adapted.Activate("b");
        adapted.Delete("b");
        adapted.ActiveAdapters.Should().Equal("a");
        Reference.SameBits(model.call(x), outputs["a"]).Should().BeTrue();
        adapted.Unload();
        model.parameters().Zip(parameters, Reference.SameBits).Should().OnlyContain(same => same);
        model.parameters().Should().OnlyContain(p => p.requires_grad);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void MergeAndUnload_LeavesTheTrainedValues(string kind)
    {
        using var scope = NewDisposeScope();
        using TrainedModel model = TrainedModel.Make();
        Tensor x = TrainedModel.Input();
        string[] keys = [.. model.state_dict().Keys];
        AdaptedModel adapted = AdapterInjector.Inject(model, Of(kind), new() { AdapterName = "a" });
        Tensor trained = Trained(adapted, "a", x);
        adapted.Merge();
        Reference.RelativeError(model.call(x), trained).Should().BeLessThan(1e-12);
        adapted.Unmerge();
        Reference.SameBits(model.call(x), trained).Should().BeTrue();
        adapted.MergeAndUnload();
        Reference.RelativeError(model.call(x), trained).Should().BeLessThan(1e-12);
        model.state_dict().Keys.Should().Equal(keys);
        model.parameters().Should().OnlyContain(p => p.requires_grad);
        adapted.Dispose();
        Reference.RelativeError(model.call(x), trained).Should().BeLessThan(1e-12);
    }

    [Fact]
    public void Training_BatchNormSavedWhole_LeavesTheBasesStatisticsAlone()
    {
        using var scope = NewDisposeScope();
        using TrainedModel model = TrainedModel.Make();
        Tensor x = TrainedModel.Input();
        Tensor bare = model.call(x);
        Dictionary<string, Tensor> before = Buffers();
        using AdaptedModel adapted = AdapterInjector.Inject(model, Modules, new() { AdapterName = "a" });
        model.train();
        model.call(x).Dispose();
        model.call(x).Dispose();
        model.eval();
        Tensor trained = model.call(x);
        Reference.RelativeError(trained, bare).Should().BeGreaterThan(1e-3, "its statistics were gathered");

        adapted.Activate();
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        adapted.Activate("a");
        Reference.SameBits(model.call(x), trained).Should().BeTrue();
        adapted.Unload();
        foreach ((string name, Tensor value) in Buffers())
        {
            Reference.SameBits(value, before[name]).Should().BeTrue(name);
        }

        Dictionary<string, Tensor> Buffers() => model.named_buffers().ToDictionary(b => b.name, b => b.buffer.clone());
    }

    [Fact]
    public void Backward_AcrossADisabledPass_GivesTheSameGradients()
    {
        using var scope = NewDisposeScope();
        using TrainedModel model = TrainedModel.Make();
        Tensor x = TrainedModel.Input();
        using AdaptedModel adapted = AdapterInjector.Inject(model, Modules with { Bias = BiasTraining.All }, new() { AdapterName = "a" });
        Trained(adapted, "a", x);
        Parameter[] trained = [.. adapted.TrainableParameters()];
        Tensor reference;
        using (adapted.Disable())
        {
            reference = model.call(x).detach();
        }

        (model.call(x) - reference).square().sum().backward();
        Tensor[] expected = [.. trained.Select(p => p.grad!.clone())];
        Array.ForEach(trained, p => p.grad = null);

        // A preference loss runs the reference model between the policy's forward and its backward pass.
        Tensor y = model.call(x);
        using (adapted.Disable())
        {
            Reference.SameBits(model.call(x), reference).Should().BeTrue();
        }

        (y - reference).square().sum().backward();
        trained.Zip(expected).Should().OnlyContain(pair => Reference.RelativeError(pair.First.grad!, pair.Second) < 1e-12);

        // Nor does it take away what was accumulated.
        using (adapted.Disable())
        {
            model.call(x).Dispose();
        }

        trained.Zip(expected).Should().OnlyContain(pair => !ReferenceEquals(pair.First.grad, null) && Reference.RelativeError(pair.First.grad!, pair.Second) < 1e-12);
        model.call(x).Invoking(z => (z - reference).square().sum().backward()).Should().NotThrow();
        trained.Zip(expected).Should().OnlyContain(pair => Reference.RelativeError(pair.First.grad!, pair.Second * 2) < 1e-12);
    }

    [Fact]
    public void Optimizer_OverSwitching_TrainsEachAdaptersOwnValues()
    {
        using var scope = NewDisposeScope();
        using TrainedModel model = TrainedModel.Make();
        Tensor x = TrainedModel.Input();
        Tensor bare = model.call(x);
        using AdaptedModel adapted = AdapterInjector.Inject(model, Modules with { Bias = BiasTraining.All }, new() { AdapterName = "a" });
        adapted.Add("b", Modules with { Bias = BiasTraining.All });
        Dictionary<string, optim.Optimizer> optimizers = [];
        foreach (string name in (string[])["a", "b"])
        {
            adapted.Activate(name);
            optimizers[name] = optim.AdamW(adapted.TrainableParameters(), lr: 1e-2);
        }

        Dictionary<string, Tensor> last = [];
        foreach (string name in (string[])["a", "b", "b", "a", "b"])
        {
            adapted.Activate(name);
            (last.TryGetValue(name, out Tensor? before) ? Reference.SameBits(model.call(x), before) : Reference.SameBits(model.call(x), bare))
                .Should().BeTrue("{0} is as its own optimizer left it", name);
            Training.Step(optimizers[name], () => model.call(x));
            last[name] = model.call(x);
            adapted.TrainableParameters().Should().OnlyContain(p => p.requires_grad);
        }

        Reference.RelativeError(last["a"], last["b"]).Should().BeGreaterThan(1e-4);
        adapted.Activate();
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
    }

    [Fact]
    public void To_BetweenSwitches_ConvertsEveryAdaptersValues()
    {
        using var scope = NewDisposeScope();
        using TrainedModel model = TrainedModel.Make();
        Tensor x = TrainedModel.Input();
        Tensor bare = model.call(x);
        using AdaptedModel adapted = AdapterInjector.Inject(model, Modules, new() { AdapterName = "a" });
        Tensor a = Trained(adapted, "a", x);
        adapted.Add("b", Modules);
        adapted.Activate("b");
        Tensor b = Trained(adapted, "b", x);

        model.to(ScalarType.Float32);
        Check("b", b);
        adapted.Activate("a");
        Check("a", a);
        using (adapted.Disable())
        {
            Check("base", bare);
        }

        Training.Step(optim.AdamW(adapted.TrainableParameters(), lr: 0), () => model.call(x));
        Check("a", a);
        adapted.Unload();
        Check("base", bare);
        model.parameters().Should().OnlyContain(p => p.dtype == ScalarType.Float32 && p.requires_grad);

        void Check(string what, Tensor expected)
        {
            using Tensor y = model.call(x);
            y.dtype.Should().Be(ScalarType.Float32, what);
            Reference.RelativeError(y, expected).Should().BeLessThan(1e-5, what);
        }
    }

    [Fact]
    public void Freezing_ByTheUser_SurvivesADisabledPass()
    {
        using var scope = NewDisposeScope();
        using TrainedModel model = TrainedModel.Make();
        Tensor x = TrainedModel.Input();
        using AdaptedModel adapted = AdapterInjector.Inject(model, Modules, new() { AdapterName = "a" });
        foreach (Parameter parameter in adapted.TrainableParameters().ToArray())
        {
            parameter.requires_grad = false;
        }

        using (adapted.Disable())
        {
            model.call(x).requires_grad.Should().BeFalse();
        }

        model.call(x).requires_grad.Should().BeFalse("the caller froze the adapter");
    }

    [Fact]
    public void SavedModule_OfLibtorchsOwn_SwitchesToo()
    {
        using var scope = NewDisposeScope();
        manual_seed(405);
        using Recurrent model = new();
        Tensor x = randn(3, 5, 4);
        Tensor bare = model.call(x);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { TargetModules = ["layer"], ModulesToSave = ["memory"] }, new() { AdapterName = "a" });
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        adapted.TrainableParameters().Should().HaveCount(6);
        Training.Disturb(adapted, "a");
        Tensor trained = model.call(x);
        Reference.RelativeError(trained, bare).Should().BeGreaterThan(1e-3);
        trained.sum().backward();
        Parameter[] parameters = [.. adapted.TrainableParameters()];
        Tensor[] gradients = [.. parameters.Select(p => p.grad!.clone())];
        using (adapted.Disable())
        {
            Reference.SameBits(model.call(x), bare).Should().BeTrue();
            parameters.Skip(2).Select(p => p.requires_grad).Should().OnlyContain(trains => !trains);
        }

        Reference.SameBits(model.call(x), trained).Should().BeTrue();
        parameters.Zip(gradients).Should().OnlyContain(pair => Reference.SameBits(pair.First.grad!, pair.Second));
        adapted.Unload();
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        model.parameters().Should().OnlyContain(p => p.requires_grad);
    }

    [Fact]
    public void Inject_SavedModuleInTwoFields_IsTrainedOnceUnderEitherName()
    {
        foreach (string name in (string[])["extra", "again"])
        {
            using var scope = NewDisposeScope();
            using Aliased model = new();
            using AdaptedModel adapted = AdapterInjector.Inject(model, new() { TargetModules = ["layer"], ModulesToSave = [name] });
            adapted.TrainableParameters().Should().HaveCount(4, name);
        }
    }

    [Fact]
    public void Switching_ManyTimes_KeepsTheLiveTensorCountFlat()
    {
        using var outer = NewDisposeScope();
        using TrainedModel model = TrainedModel.Make();
        Tensor x = TrainedModel.Input();
        using AdaptedModel adapted = AdapterInjector.Inject(model, Modules with { Bias = BiasTraining.All }, new() { AdapterName = "a" });
        adapted.Add("b", Biases);
        Round();
        long live = LiveTensors.Count;
        for (int i = 0; i < 5; i++)
        {
            Round();
        }

        LiveTensors.Count.Should().Be(live);

        void Round()
        {
            using var scope = NewDisposeScope();
            adapted.Activate("b");
            model.call(x).sum().backward();
            adapted.Activate("a");
            model.call(x).sum().backward();
            adapted.Disable().Dispose();
        }
    }

    private static LoraOptions Of(string kind) => kind switch
    {
        "biases" => Biases,
        "modules" => Modules,
        _ => Biases with { Bias = BiasTraining.LoraOnly },
    };

    private static Tensor Trained(AdaptedModel adapted, string name, Tensor x)
    {
        Training.Disturb(adapted, name, seed: name[0]);
        return ((nn.Module<Tensor, Tensor>)adapted.Model).call(x);
    }

    private sealed class Recurrent : nn.Module<Tensor, Tensor>
    {
        private readonly nn.Module<Tensor, Tensor> layer = nn.Linear(4, 5);
        private readonly GRU memory = nn.GRU(5, 6);

        public Recurrent()
            : base(nameof(Recurrent)) => RegisterComponents();

        public override Tensor forward(Tensor input) => memory.call(layer.call(input), null).Item1;
    }

    private sealed class Aliased : nn.Module<Tensor, Tensor>
    {
        private readonly nn.Module<Tensor, Tensor> layer = nn.Linear(4, 5);
        private readonly nn.Module<Tensor, Tensor> extra = nn.Linear(5, 6);
        private readonly nn.Module<Tensor, Tensor> again;

        public Aliased()
            : base(nameof(Aliased))
        {
            again = extra;
            RegisterComponents();
        }

        public override Tensor forward(Tensor input) => again.call(layer.call(input));
    }
}
