using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection;

public class AttentionInjectionTests
{
    private static readonly Dictionary<string, (Func<AttentionModel> Make, InjectionRoute Route)> Kinds = new()
    {
        ["open, called"] = (() => new OpenAttentionCalled(), InjectionRoute.Replace),
        ["open, forwarded"] = (() => new OpenAttentionForwarded(), InjectionRoute.Replace),
        ["sealed, called"] = (() => new SealedAttentionCalled(), InjectionRoute.Hook),
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
    public void Inject_AnyWayOfHoldingAnAttention_AdaptsBothProjectionsAsANoOp(string kind, bool dora)
    {
        using var scope = NewDisposeScope();
        AttentionModel model = Make(kind);
        Tensor x = Input();
        Tensor expected = model.call(x);
        Tensor weights = model.Weights!.clone();
        using AdaptedModel adapted = Inject(model, x, dora);

        Reference.SameBits(model.call(x), expected).Should().BeTrue();
        Reference.SameBits(model.Weights!, weights).Should().BeTrue();
        adapted.Report.Sites.Select(site => (site.Path, site.Kind, site.Route, site.InFeatures, site.OutFeatures)).Should().Equal(
            ("attention.in_proj", LayerKind.MultiheadAttention, Kinds[kind].Route, 24, 72),
            ("attention.out_proj", LayerKind.MultiheadAttention, Kinds[kind].Route, 24, 24));
        adapted.TrainableParameters().Sum(p => p.numel()).Should().Be((3 * (24 + 72)) + (3 * (24 + 24)) + (dora ? 72 + 24 : 0));
    }

    [Theory]
    [MemberData(nameof(KindsOfModels))]
    public void Inject_TrainedAdapters_GiveOutputsMasksAndGradientsOfTheDefinition(string kind, bool dora)
    {
        using var scope = NewDisposeScope();
        AttentionModel model = Make(kind);
        model.Mask = randn(6, 6, dtype: ScalarType.Float64);
        Tensor x = Input().requires_grad_(true);
        using AdaptedModel adapted = Inject(model, x, dora);
        Disturb(adapted);
        ReferenceAdapter[] adapters = [.. adapted.Layers.Select(layer => Reference.Copy(layer.Value["default"]))];
        Tensor xCopy = Reference.Leaf(x);
        Tensor expected = Define(model, adapters, xCopy);

        Tensor actual = model.call(x);
        Reference.RelativeError(actual, expected).Should().BeLessThan(1e-13);
        actual.square().sum().backward();
        expected.square().sum().backward();

        Reference.RelativeError(x.grad!, xCopy.grad!).Should().BeLessThan(1e-12);
        foreach (((_, AdapterStack stack), ReferenceAdapter copy) in adapted.Layers.Zip(adapters))
        {
            LoraAdapter adapter = (LoraAdapter)stack["default"];
            Reference.RelativeError(adapter.A.grad!, copy.A.grad!).Should().BeLessThan(1e-11);
            Reference.RelativeError(adapter.B.grad!, copy.B.grad!).Should().BeLessThan(1e-11);
            if (dora)
            {
                Reference.RelativeError(adapter.Magnitude!.grad!, copy.Magnitude!.grad!).Should().BeLessThan(1e-11);
            }
        }

        model.NeedsWeights = false;
        Reference.SameBits(model.call(x), actual).Should().BeTrue();
        model.Weights!.IsInvalid.Should().BeTrue();
    }

    [Theory]
    [MemberData(nameof(KindsOfModels))]
    public void Lifecycle_SecondAdapterMixedBatchDisableAndMerge_HoldTogether(string kind, bool dora)
    {
        using var scope = NewDisposeScope();
        AttentionModel model = Make(kind);
        Tensor x = Input();
        Tensor plain = model.call(x);
        Tensor[] before = [.. BaseWeights(model).Select(p => p.detach().clone())];
        using AdaptedModel adapted = Inject(model, x, dora);
        adapted.Add("second", new LoraOptions { Rank = 2, TargetModules = ["attention"] });
        Disturb(adapted);
        Tensor first = model.call(x);
        adapted.Activate("second");
        Tensor second = model.call(x);
        using (adapted.ForSamples("second", "__base__", "default"))
        {
            Tensor mixed = model.call(x);
            foreach ((Tensor expected, int sample) in new[] { (second, 0), (plain, 1), (first, 2) })
            {
                Reference.RelativeError(mixed[TensorIndex.Colon, sample], expected[TensorIndex.Colon, sample]).Should().BeLessThan(1e-13);
            }
        }

        using (adapted.Disable())
        {
            Reference.SameBits(model.call(x), plain).Should().BeTrue();
        }

        adapted.Activate("default", "second");
        Tensor both = model.call(x);
        adapted.Merge();
        Reference.RelativeError(model.call(x), both).Should().BeLessThan(1e-13);
        adapted.Unmerge();
        BaseWeights(model).Zip(before, Reference.SameBits).Should().OnlyContain(same => same);
        adapted.MergeAndUnload();
        Reference.RelativeError(model.call(x), both).Should().BeLessThan(1e-13);
        model.modules().Should().OnlyContain(module => module is MultiheadAttention);
    }

    [Theory]
    [MemberData(nameof(KindsOfModels))]
    public void Unload_AfterUse_LeavesNoTrace(string kind, bool dora)
    {
        using var scope = NewDisposeScope();
        AttentionModel model = Make(kind);
        Tensor x = Input();
        Tensor expected = model.call(x);
        string[] keys = [.. model.state_dict().Keys];
        AdaptedModel adapted = Inject(model, x, dora);
        Disturb(adapted);
        model.call(x);
        adapted.Dispose();

        Reference.SameBits(model.call(x), expected).Should().BeTrue();
        model.state_dict().Keys.Should().Equal(keys);
        model.modules().Should().OnlyContain(module => module is MultiheadAttention);
        model.parameters().Should().OnlyContain(p => p.requires_grad);
    }

    [Theory]
    [MemberData(nameof(KindsOfModels))]
    public void Save_Load_GivesTheNamesOfPeftAndTheSameOutput(string kind, bool dora)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        AttentionModel model = Make(kind);
        Tensor x = Input();
        Tensor expected;
        using (AdaptedModel adapted = Inject(model, x, dora))
        {
            Disturb(adapted);
            expected = model.call(x);
            adapted.Save(folder.Path);
        }

        using (SafetensorsReader file = SafetensorsReader.Open(Path.Combine(folder.Path, "adapter_model.safetensors")))
        {
            string[] parts = dora ? ["lora_A.weight", "lora_B.weight", "lora_magnitude_vector"] : ["lora_A.weight", "lora_B.weight"];
            file.Entries.Select(entry => entry.Name).Should().BeEquivalentTo(
                parts.SelectMany(part => new[] { $"base_model.model.attention.{part}", $"base_model.model.attention.base_layer.out_proj.{part}" }));
        }

        using AdaptedModel loaded = AdaptedModel.Load(model, folder.Path, new() { Probe = () => model.call(x) });
        Reference.RelativeError(model.call(x), expected).Should().BeLessThan(1e-13);
    }

    [Theory]
    [MemberData(nameof(KindsOfModels))]
    public void Forward_ManySteps_KeepsTheNumberOfTensors(string kind, bool dora)
    {
        using var scope = NewDisposeScope();
        AttentionModel model = Make(kind);
        Tensor x = Input();
        using AdaptedModel adapted = Inject(model, x, dora);
        long count = 0;
        for (int step = 0; step < 20; step++)
        {
            model.call(x).Dispose();
            count = step == 4 ? LiveTensors.Count : count;
        }

        LiveTensors.Count.Should().Be(count);
    }

    [Theory]
    [InlineData("mha_lora")]
    [InlineData("mha_lora_seqfirst_nobias")]
    public void Load_WithDoubledOutput_ReproducesWhatPeftTrained(string name)
    {
        using var scope = NewDisposeScope();
        string folder = SharedFolder.Require("fixtures", "peft", name);
        using SafetensorsReader io = SafetensorsReader.Open(Path.Combine(folder, "io.safetensors"));
        using SafetensorsReader weights = SafetensorsReader.Open(Path.Combine(folder, "base.safetensors"));
        bool batchFirst = name == "mha_lora";
        MultiheadAttention layer = nn.MultiheadAttention(6, batchFirst ? 2 : 3, bias: batchFirst);
        using (no_grad())
        {
            foreach ((string parameter, Parameter value) in layer.named_parameters())
            {
                value.copy_(weights.Read($"mha.{parameter}"));
            }
        }

        using Holder model = new(layer);
        using PeftFolder file = PeftFolder.Read(Path.Combine(folder, "default"));
        LoraOptions options = (LoraOptions)file.Options with { DoublesAttentionOutput = true };
        using AdaptedModel adapted = AdapterInjector.Inject(model, options, new() { SealedRoute = InjectionRoute.Hook });
        adapted.Load(Path.Combine(folder, "default"));

        Tensor Turned(Tensor x) => batchFirst ? x.transpose(0, 1) : x;
        Tensor Run() => Turned(layer.call(Turned(io.Read("query")), Turned(io.Read("key")), Turned(io.Read("value"))).Item1);
        Reference.MaxRelativeError(Run(), io.Read("peft_bug_y")).Should().BeLessThan(1e-5);
        Reference.MaxRelativeError(Run(), io.Read("y")).Should().BeGreaterThan(0.1);
        adapted.MergeAndUnload();
        Reference.MaxRelativeError(layer.get_parameter("out_proj.weight")!, io.Read("peft_bug_merged.mha.out_proj.weight")).Should().BeLessThan(1e-5);
        Reference.MaxRelativeError(Run(), io.Read("peft_bug_y")).Should().BeLessThan(1e-5);
    }

    [Fact]
    public void Call_HookedAttentionOnSeveralThreads_GivesEachItsOwnOutput()
    {
        using var scope = NewDisposeScope();
        MultiheadAttention layer = new SealedAttentionCalled().to(ScalarType.Float64).modules().OfType<MultiheadAttention>().Single();
        using Holder model = new(layer);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { TargetModules = ["mha"] }, new() { SealedRoute = InjectionRoute.Hook });
        Disturb(adapted);
        Tensor[] inputs = [.. Enumerable.Range(0, 8).Select(i => randn(3 + i, 2, 24, dtype: ScalarType.Float64))];
        using var noGrad = no_grad();
        Tensor[] expected = [.. inputs.Select(x => layer.call(x, x, x).Item1)];

        bool[] same = new bool[64];
        Parallel.For(0, same.Length, new ParallelOptions { MaxDegreeOfParallelism = 4 }, i =>
        {
            using var own = NewDisposeScope();
            using var mode = no_grad();
            Tensor x = inputs[i % 8];
            same[i] = Reference.RelativeError(layer.call(x, x, x).Item1, expected[i % 8]) < 1e-13;
        });
        same.Should().OnlyContain(equal => equal);
    }

    [Fact]
    public void Inject_SealedAndForwarded_IsRefusedWithTheWayOut()
    {
        using var scope = NewDisposeScope();
        using SealedAttentionForwarded model = new();
        model.to(ScalarType.Float64);
        Tensor x = Input();
        Tensor expected = model.call(x);
        LoraOptions options = new() { TargetModules = ["attention"] };

        FluentActions.Invoking(() => AdapterInjector.Inject(model, options, new() { Probe = () => model.call(x) }))
            .Should().Throw<InvalidOperationException>().WithMessage("*attention*SealedAttentionForwarded.attention*forward(...)*call(...)*Tuple<Tensor, Tensor>*Nothing was changed*");
        FluentActions.Invoking(() => AdapterInjector.Inject(model, options, new() { SealedRoute = InjectionRoute.SubstituteWeight }))
            .Should().Throw<InvalidOperationException>().WithMessage("*SealedRoute*no other weights*");
        FluentActions.Invoking(() => AdapterInjector.Inject(model, options))
            .Should().Throw<InvalidOperationException>().WithMessage("*Probe*Tuple<Tensor, Tensor>*");
        Reference.SameBits(model.call(x), expected).Should().BeTrue();
        model.parameters().Should().OnlyContain(p => p.requires_grad);
        model.named_children().Should().ContainSingle();
    }

    [Fact]
    public void Inject_UnlikeWidths_NeedsTheNumberOfHeadsAndAdaptsEachProjection()
    {
        using var scope = NewDisposeScope();
        using UnlikeWidths model = new();
        model.to(ScalarType.Float64).eval();
        LoraOptions options = new() { Rank = 3, TargetModules = ["attention"], UseDora = true };
        FluentActions.Invoking(() => AdapterInjector.Inject(model, options)).Should().Throw<NotSupportedException>().WithMessage("attention*10*14*InjectionOptions.Attention*");
        model.parameters().Should().OnlyContain(p => p.requires_grad);

        using AdaptedModel adapted = AdapterInjector.Inject(model, options, new() { Attention = path => path == "attention" ? new() { Heads = 4 } : null });
        Disturb(adapted);
        Tensor x = Input();
        Tensor expected = Define(model, [.. adapted.Layers.Select(layer => Reference.Copy(layer.Value["default"]))], x);
        Reference.RelativeError(model.call(x), expected).Should().BeLessThan(1e-13);
        adapted.Layers.Select(layer => layer.Key).Should().Equal("attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.out_proj");
        adapted.TensorsOf("default").Select(tensor => tensor.ModulePath).Distinct().Should().Equal("attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.out_proj");
    }

    [Fact]
    public void Inject_LoraBias_IsRefused()
    {
        using OpenAttentionCalled model = new();
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new() { TargetModules = ["attention"], LoraBias = true }))
            .Should().Throw<ArgumentException>().WithMessage("*LoraBias*attention*");
    }

    private static AttentionModel Make(string kind)
    {
        manual_seed(51);
        AttentionModel model = Kinds[kind].Make();
        model.to(ScalarType.Float64).eval();
        return model;
    }

    private static Tensor Input()
    {
        manual_seed(52);
        return randn(6, 3, 24, dtype: ScalarType.Float64);
    }

    private static AdaptedModel Inject(AttentionModel model, Tensor x, bool dora) =>
        AdapterInjector.Inject(model, new() { Rank = 3, Alpha = 5, UseDora = dora, TargetModules = ["attention"] }, new() { Probe = () => model.call(x) });

    private static void Disturb(AdaptedModel adapted)
    {
        int seed = 1;
        foreach ((_, AdapterStack stack) in adapted.Layers)
        {
            Reference.Disturb(stack, seed++);
        }
    }

    private static IEnumerable<Parameter> BaseWeights(nn.Module model) =>
        model.named_parameters().Where(p => !p.name.Contains("adapters", StringComparison.Ordinal)).Select(p => p.parameter);

    private static Tensor Define(AttentionModel model, ReferenceAdapter[] adapters, Tensor x)
    {
        Tensor[] p = [.. BaseWeights(model).Select(parameter => parameter.detach())];
        Dictionary<string, Tensor> named = model.named_parameters().Where(e => !e.name.Contains("adapters", StringComparison.Ordinal))
            .ToDictionary(e => e.name[(e.name.LastIndexOf("attention.", StringComparison.Ordinal) + 10)..].Replace("base_layer.", "", StringComparison.Ordinal), e => e.parameter.detach());
        p.Length.Should().Be(named.Count);
        Tensor Effective(string name, int stack) => Reference.EffectiveWeight(named[name], adapters[stack]);
        bool isFused = named.ContainsKey("in_proj_weight");
        AttentionWeights weights = new()
        {
            InProjection = isFused ? Effective("in_proj_weight", 0) : null,
            QueryProjection = isFused ? null : Effective("q_proj_weight", 0),
            KeyProjection = isFused ? null : Effective("k_proj_weight", 1),
            ValueProjection = isFused ? null : Effective("v_proj_weight", 2),
            InBias = named["in_proj_bias"],
            OutProjection = Effective("out_proj.weight", adapters.Length - 1),
            OutBias = named["out_proj.bias"],
        };
        Tensor memory = x.tanh();
        (Tensor key, Tensor value) = isFused ? (memory, memory) : (memory[TensorIndex.Ellipsis, ..10], memory[TensorIndex.Ellipsis, ..14]);
        return x + AttentionForward.Run(new(x, key, value, null, true, model.Mask), weights, AttentionTraits.From(weights, new() { Heads = 4 }), training: false).Item1;
    }

    /// <summary>Holds an attention in a sealed field.</summary>
    private sealed class Holder : nn.Module
    {
        private readonly MultiheadAttention mha;

        public Holder(MultiheadAttention mha)
            : base(nameof(Holder))
        {
            this.mha = mha;
            RegisterComponents();
        }

        public override string ToString() => mha.GetName();
    }
}
