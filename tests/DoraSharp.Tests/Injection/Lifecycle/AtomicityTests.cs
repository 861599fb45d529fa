using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection.Lifecycle;

/// <summary>An operation that fails leaves outputs, state dict, flags and native memory as they were.</summary>
public class AtomicityTests
{
    private static readonly LoraOptions Linears = new() { Rank = 3, TargetModules = ["up", "down"], Bias = BiasTraining.LoraOnly };
    private static readonly LoraOptions Others = new() { Rank = 2, UseDora = true, TargetModules = ["embed", "conv"] };

    [Fact]
    public void Operations_WrongArguments_ChangeNothing()
    {
        using var scope = NewDisposeScope();
        using Subject subject = new();
        ModelState state = subject.State;

        state.ShouldSurvive<ArgumentException>(a => a.Add("a", Others), "*'a' already*");
        state.ShouldSurvive<ArgumentException>(a => a.Add("x.y", Others), "*x.y*");
        state.ShouldSurvive<ArgumentException>(a => a.Add("c", Others with { TargetModules = ["embed", "nowhere"] }), "*nowhere*");
        state.ShouldSurvive<ArgumentException>(a => a.Add("c", Others with { TargetModules = ["embed", "norm"] }), "*norm*");
        state.ShouldSurvive<ArgumentException>(a => a.Add("c", Others with { LoraBias = true }), "*LoraBias*");
        state.ShouldSurvive<ArgumentException>(a => a.Add("c", Others with { TrainableTokens = [new("embed", 3, 500)] }), "*500*");
        state.ShouldSurvive<ArgumentException>(a => a.Add("c", Others with { Rank = 1, ModulesToSave = ["nothing"] }), "*nothing*");
        state.ShouldSurvive<InvalidOperationException>(a => a.Add("c", Linears with { TargetModules = ["conv", "down"], Initialization = LoraInitialization.Pissa }), "*base weight under*");
        state.ShouldSurvive<ArgumentException>(a => a.Add("c", Linears with { TargetModules = ["conv", "down"], Rank = 9, Initialization = LoraInitialization.Orthogonal }), "*even*");
        state.ShouldSurvive<KeyNotFoundException>(a => a.Activate("a", "nobody"), "*nobody*a, b*");
        state.ShouldSurvive<ArgumentException>(a => a.Activate("b", "a", "b"), "*once*");
        state.ShouldSurvive<KeyNotFoundException>(a => a.Delete("nobody"), "*nobody*");
        state.ShouldSurvive<ArgumentException>(a => a.Rename("a", "b"), "*'b' already*");
        state.ShouldSurvive<ArgumentException>(a => a.Rename("a", "../b"), "*../b*");
        state.ShouldSurvive<KeyNotFoundException>(a => a.Rename("nobody", "c"), "*nobody*");
        state.ShouldSurvive<ArgumentOutOfRangeException>(a => a.SetScale("a", double.NaN), "*finite*");
        state.ShouldSurvive<ArgumentOutOfRangeException>(a => a.ScaleLayers(double.PositiveInfinity), "*finite*");
        state.ShouldSurvive<ArgumentOutOfRangeException>(a => a.UnscaleLayers(0), "*finite*");
        state.ShouldSurvive<KeyNotFoundException>(a => a.ForSamples("b", "nobody"), "*nobody*");
        state.ShouldSurvive<InvalidOperationException>(a => a.ForSamples("b", "a"), "*'a'*bias*");
        state.ShouldSurvive<InvalidOperationException>(a => a.Unmerge(), "*not merged*");
        state.ShouldSurvive<InvalidOperationException>(a => a.ConvertToDora("b"), "*already*");
        state.ShouldSurvive<DirectoryNotFoundException>(a => a.HotSwap("a", "no-such-folder"), "*no-such-folder*");
    }

    [Fact]
    public void Rescale_OneAdapterOverflows_LeavesTheOthers()
    {
        using var scope = NewDisposeScope();
        using Subject subject = new();
        subject.Adapted.SetScale("b", 1e300);
        ModelState state = subject.State;
        state.ShouldSurvive<ArgumentOutOfRangeException>(a => a.ScaleLayers(1e200), "*finite*");
    }

    [Fact]
    public void Activate_TwoAdaptersThatTrainOneBias_IsRefusedAndChangesNothing()
    {
        using var scope = NewDisposeScope();
        using Subject subject = new();
        subject.Adapted.Add("c", Linears);
        subject.State.ShouldSurvive<ArgumentException>(a => a.Activate("b", "c", "a"), "*c and a*up.base_layer.bias*");
    }

    [Theory]
    [InlineData("missing")]
    [InlineData("misshapen")]
    [InlineData("unexpected")]
    [InlineData("truncated")]
    public void LoadAdapterAndHotSwap_FileThatDoesNotFitNewLayers_ChangesNothing(string damage)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using MixedModel model = MixedModel.Make();
        using AdaptedModel adapted = AdapterInjector.Inject(model, Linears, new() { AdapterName = "a" });
        Training.Disturb(adapted, "a");
        using (AdaptedModel source = AdapterInjector.Inject(MixedModel.Make(), Others with { ModulesToSave = ["norm"] }))
        {
            source.Save(folder.Path);
        }

        Damage(folder, damage);
        Tensor x = MixedModel.Input();
        ModelState state = new(adapted, () => model.call(x));

        state.ShouldSurvive<InvalidDataException>(a => a.LoadAdapter("c", folder.Path), "*");
        state.ShouldSurvive<InvalidDataException>(a => a.HotSwap("a", folder.Path), "*");
        using (adapted.Disable())
        {
            new ModelState(adapted, () => model.call(x)).ShouldSurvive<InvalidDataException>(a => a.HotSwap("a", folder.Path), "*");
        }

        state.ShouldHold(damage);
    }

    [Fact]
    public void HotSwap_NewOneTrainsABiasOfAnActiveOne_ChangesNothing()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using Subject subject = new();
        using (AdaptedModel source = AdapterInjector.Inject(MixedModel.Make(), Linears))
        {
            source.Save(folder.Path);
        }

        subject.State.ShouldSurvive<ArgumentException>(a => a.HotSwap("b", folder.Path), "*cannot be active together*up.base_layer.bias*");
        subject.Adapted.HotSwap("a", folder.Path);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void LoadAdapter_HostileRank_IsRefusedBeforeAnythingIsMade(bool vera)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using Subject subject = new();
        AdapterOptions options = vera
            ? new VeraOptions { Rank = 2_000_000_000, TargetModules = ["up"], SaveProjection = false }
            : new LoraOptions { Rank = 2_000_000_000, TargetModules = ["up"] };
        PeftFolder.Write(folder.Path, options, vera
            ? [new("up", "vera_lambda_b", zeros(20)), new("up", "vera_lambda_d", zeros(4))]
            : [new("up", "lora_A.weight", zeros(4, 16)), new("up", "lora_B.weight", zeros(20, 4))]);
        subject.State.ShouldSurvive<InvalidDataException>(a => a.LoadAdapter("c", folder.Path), "*rank 2000000000*");
    }

    [Fact]
    public void Merge_NotFiniteInTheLastLayer_ChangesNothing()
    {
        using var scope = NewDisposeScope();
        using Subject subject = new();
        Parameter b = ((LoraAdapter)subject.Adapted.Layers[^1].Value["b"]).B;
        using (no_grad())
        {
            b[1, 1] = double.NaN;
        }

        subject.Model.call(subject.Input).Dispose();
        string path = subject.Adapted.Layers[^1].Key;
        Tensor before = subject.Adapted.Layers[0].Value.Weight.Stored.detach().clone();
        string[] keys = [.. subject.Model.state_dict().Keys];
        subject.Adapted.Invoking(a => a.Merge()).Should().Throw<InvalidOperationException>();
        long live = LiveTensors.Count;
        subject.Adapted.Invoking(a => a.Merge()).Should().Throw<InvalidOperationException>().WithMessage($"*{path}*not finite*");
        subject.Adapted.Invoking(a => a.MergeAndUnload()).Should().Throw<InvalidOperationException>().WithMessage($"*{path}*not finite*");
        LiveTensors.Count.Should().Be(live);
        subject.Model.state_dict().Keys.Should().Equal(keys);
        subject.Adapted.IsMerged.Should().BeFalse();
        subject.Adapted.ActiveAdapters.Should().Equal("a", "b");
        Reference.SameBits(subject.Adapted.Layers[0].Value.Weight.Stored, before).Should().BeTrue();
    }

    [Fact]
    public void Operations_WhileMerged_AreRefusedAndChangeNothing()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using Subject subject = new();
        subject.Adapted.Save(folder.Path, adapterName: "b");
        subject.Adapted.Merge();
        ModelState state = subject.State;

        foreach (Action<AdaptedModel> operation in (Action<AdaptedModel>[])
        [
            a => a.Add("c", Others), a => a.Activate("a"), a => a.Delete("a"), a => a.SetScale("a", 2), a => a.ScaleLayers(2), a => a.UnscaleLayers(),
            a => a.Disable(), a => a.ForSamples("b"), a => a.LoadAdapter("c", folder.File("b")), a => a.HotSwap("a", folder.File("b")), a => a.Merge(),
            a => a.ConvertToDora("a"), a => a.ConvertToLora("b"), a => a.Combine("c", new() { Adapters = ["a", "b"], Weights = [1, 1] }),
        ])
        {
            state.ShouldSurvive<InvalidOperationException>(operation, "*merged*");
        }
    }

    [Fact]
    public void Add_NameOfTheRegistrationIsTaken_ChangesNothing()
    {
        using var scope = NewDisposeScope();
        using Clashing model = new();
        Tensor x = randn(3, 5, dtype: ScalarType.Float64);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { TargetModules = ["first"] }, new() { SealedRoute = InjectionRoute.Hook });
        ModelState state = new(adapted, () => model.call(x));

        state.ShouldSurvive<InvalidOperationException>(a => a.Add("b", new() { TargetModules = ["middle", "last"] }), "*last_adapters*Nothing was changed*");
        using AdaptedModel? none = null;
        adapted.Unload();
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new() { TargetModules = ["first", "middle", "last"] }, new() { SealedRoute = InjectionRoute.Hook }))
            .Should().Throw<InvalidOperationException>().WithMessage("*last_adapters*");
        model.parameters().Should().OnlyContain(p => p.requires_grad);
        model.named_children().Select(child => child.name).Should().Equal("first", "middle", "last", "last_adapters");
    }

    [Fact]
    public void Add_SealedLayerWithoutARoute_ChangesNothing()
    {
        using var scope = NewDisposeScope();
        using SealedModel model = SealedModel.Make();
        Tensor x = SealedModel.Input();
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { TargetModules = ["open"] });
        ModelState state = new(adapted, () => model.call(x));

        state.ShouldSurvive<InvalidOperationException>(a => a.Add("b", new() { TargetModules = ["open", "called"] }), "*called*Nothing was changed*");
    }

    [Fact]
    public void AfterUnload_EveryOperation_SaysThatItIsOver()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using Subject subject = new();
        Tensor bare = MixedModel.Make().call(subject.Input);
        subject.Adapted.Unload();
        foreach (Action<AdaptedModel> operation in (Action<AdaptedModel>[])
        [
            a => a.Add("c", Others), a => a.Activate("a"), a => a.Delete("a"), a => a.Rename("a", "c"), a => a.SetScale("a", 2), a => a.ScaleLayers(2), a => a.Disable(),
            a => a.ForSamples("b"), a => a.Merge(), a => a.MergeAndUnload(), a => a.Save(folder.Path), a => _ = a.Layers, a => a.ConvertToDora("a"),
        ])
        {
            subject.Adapted.Invoking(operation).Should().Throw<ObjectDisposedException>();
        }

        Reference.SameBits(subject.Model.call(subject.Input), bare).Should().BeTrue();
    }

    private static void Damage(TemporaryFolder folder, string damage)
    {
        string file = folder.File("adapter_model.safetensors");
        if (damage == "truncated")
        {
            byte[] bytes = File.ReadAllBytes(file);
            File.WriteAllBytes(file, bytes[..^9]);
            return;
        }

        AdapterOptions options;
        PeftTensor[] tensors;
        using (PeftFolder read = PeftFolder.Read(folder.Path))
        {
            options = read.Options;
            tensors = [.. read.Tensors.Select(tensor => tensor with { Value = tensor.Value.clone() })];
        }

        PeftFolder.Write(folder.Path, options, damage switch
        {
            "missing" => tensors[..^1],
            "misshapen" => [.. tensors[..^1], tensors[^1] with { Value = zeros([1, .. tensors[^1].Value.shape]) }],
            _ => [.. tensors, new("elsewhere", "lora_A.weight", zeros(2, 3))],
        });
    }

    /// <summary>A mixed model with two trained, active adapters of different targets.</summary>
    private sealed class Subject : IDisposable
    {
        public Subject()
        {
            Adapted = AdapterInjector.Inject(Model, Linears, new() { AdapterName = "a" });
            Adapted.Add("b", Others);
            Adapted.Activate("a", "b");
            Training.Disturb(Adapted, "a");
            Training.Disturb(Adapted, "b");
        }

        public MixedModel Model { get; } = MixedModel.Make();

        public Tensor Input { get; } = MixedModel.Input();

        public AdaptedModel Adapted { get; }

        public ModelState State => new(Adapted, () => Model.call(Input));

        public void Dispose()
        {
            Adapted.Dispose();
            Model.Dispose();
        }
    }

    private sealed class Clashing : nn.Module<Tensor, Tensor>
    {
        private readonly nn.Module<Tensor, Tensor> first = nn.Linear(5, 6, dtype: ScalarType.Float64);
        private readonly nn.Module<Tensor, Tensor> middle = nn.Linear(6, 7, dtype: ScalarType.Float64);
        private readonly Linear last = nn.Linear(7, 4, dtype: ScalarType.Float64);
        private readonly nn.Module<Tensor, Tensor> last_adapters = nn.Tanh();

        public Clashing()
            : base(nameof(Clashing)) => RegisterComponents();

        public override Tensor forward(Tensor input) => last_adapters.call(last.call(middle.call(first.call(input))));
    }
}
