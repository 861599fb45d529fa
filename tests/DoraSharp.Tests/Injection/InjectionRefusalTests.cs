using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DoraSharp.Tests.Injection;

public class InjectionRefusalTests
{
    [Fact]
    public void Inject_EmbeddingAdaptedWholeAndByRows_NamesBothOptions()
    {
        using Module<Tensor, Tensor> model = Sequential(("embed_tokens", Embedding(31, 17)), ("head", Linear(17, 31)));
        LoraOptions options = new() { TargetModules = ["embed_tokens"], TrainableTokens = [new(null, 3, 5)] };
        FluentActions.Invoking(() => AdapterInjector.Inject(model, options)).Should().Throw<ArgumentException>().WithMessage("*embed_tokens*TargetModules*TrainableTokens*");
        model.named_children().Select(child => child.name).Should().Equal("embed_tokens", "head");
    }

    [Fact]
    public void InjectVera_Attention_NamesItAndTheWayOut()
    {
        using Holder model = new();
        FluentActions.Invoking(() => AdapterInjector.InjectVera(model, new() { Rank = 4, TargetModules = ["attention"] })).Should().Throw<ArgumentException>().WithMessage("*attention*VeRA*ExcludeModules*");
        model.modules().Should().NotContain(module => module is AdapterStack);
    }

    [Fact]
    public void Inject_InitializationThatWouldChangeATiedWeight_IsRefused()
    {
        using TorchSharp.Modules.Linear first = Linear(12, 9);
        using TorchSharp.Modules.Linear second = Linear(12, 9);
        second.weight = first.weight;
        using Module<Tensor, Tensor> model = Sequential(("first", first), ("back", Linear(9, 12)), ("second", second));
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new() { Rank = 3, TargetModules = ["second"], Initialization = LoraInitialization.Pissa }))
            .Should().Throw<InvalidOperationException>().WithMessage("*second*first*share memory*");
        model.modules().Should().NotContain(module => module is AdapterStack);
    }

    [Fact]
    public void Merge_AdapterBiasIntoASharedBias_SeparatesTheTwo()
    {
        using var scope = NewDisposeScope();
        manual_seed(71);
        TorchSharp.Modules.Linear first = Linear(12, 12);
        TorchSharp.Modules.Linear second = Linear(12, 12);
        second.bias = first.bias;
        using Module<Tensor, Tensor> model = Sequential(("first", first), ("second", second));
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 3, TargetModules = ["first"], LoraBias = true });
        using (no_grad())
        {
            foreach (TorchSharp.Modules.Parameter parameter in adapted.TrainableParameters())
            {
                parameter.copy_(randn(parameter.shape));
            }
        }

        Tensor x = randn(5, 12);
        Tensor expected = model.call(x);
        adapted.Merge();
        Reference.RelativeError(model.call(x), expected).Should().BeLessThan(1e-5);
        adapted.Unmerge();
        Reference.SameBits(model.call(x), expected).Should().BeTrue();
        ReferenceEquals(first.bias, second.bias).Should().BeTrue();
    }

    [Fact]
    public void Merge_TyingAndOtherAdapterOnTiedWeights_GivesTheAdaptedOutput()
    {
        using var scope = NewDisposeScope();
        manual_seed(72);
        TorchSharp.Modules.Embedding embedding = Embedding(31, 12);
        TorchSharp.Modules.Linear head = Linear(12, 31, hasBias: false);
        head.weight = embedding.weight!;
        using Module<Tensor, Tensor> model = Sequential(("embed_tokens", embedding), ("lm_head", head));
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 3, TargetModules = ["embed_tokens"], EnsureWeightTying = true });
        adapted.Add("b", new() { Rank = 2, TargetModules = ["embed_tokens", "lm_head"] });
        Tensor ids = tensor(new long[] { 3, 30, 0, 3 });
        foreach (string[] active in (string[][])[["default", "b"], ["b"], ["default"]])
        {
            adapted.Activate(active);
            using (no_grad())
            {
                foreach (TorchSharp.Modules.Parameter parameter in adapted.TrainableParameters())
                {
                    parameter.copy_(randn(parameter.shape) * 0.3);
                }
            }

            Tensor expected = model.call(ids);
            adapted.Merge();
            Reference.RelativeError(model.call(ids), expected).Should().BeLessThan(1e-5, string.Join("+", active));
            adapted.Unmerge();
        }
    }

    [Fact]
    public void Inject_AllBiasesWithAttention_TrainsItsBiasesAndSavesThem()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        manual_seed(73);
        using Holder model = new();
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 2, TargetModules = ["attention"], Bias = BiasTraining.All }, new() { SealedRoute = InjectionRoute.Hook });
        Tensor x = randn(5, 3, 8);
        model.call(x).square().sum().backward();
        adapted.TrainableParameters().Should().HaveCount(6).And.OnlyContain(parameter => !ReferenceEquals(parameter.grad, null));
        adapted.Save(folder.Path);
        using PeftFolder file = PeftFolder.Read(folder.Path);
        file.Tensors.Select(tensor => tensor.Name).Should().Contain(["attention.base_layer.in_proj_bias", "attention.base_layer.out_proj.base_layer.bias"]);
        adapted.Load(folder.Path);
    }

    [Fact]
    public void Add_NameOfTheBaseModel_IsRefused()
    {
        using Module<Tensor, Tensor> model = Sequential(("first", Linear(12, 9)));
        FluentActions.Invoking(() => AdapterInjector.Inject(model, new(), new() { AdapterName = "__base__" })).Should().Throw<ArgumentException>().WithMessage("*__base__*");
    }

    [Fact]
    public void Inject_DropoutOnASubstitutedWeight_IsAWarning()
    {
        using var scope = NewDisposeScope();
        using SealedForwarded model = new();
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 2, Dropout = 0.1 }, new() { SealedRoute = InjectionRoute.SubstituteWeight });
        adapted.Report.Warnings.Should().ContainSingle().Which.Should().Contain("layer").And.Contain("dropout");
    }

    private sealed class SealedForwarded : Module<Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.Linear layer = Linear(12, 9);

        public SealedForwarded()
            : base(nameof(SealedForwarded)) => RegisterComponents();

        public override Tensor forward(Tensor input) => layer.forward(input);
    }

    private sealed class Holder : Module<Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.MultiheadAttention attention = MultiheadAttention(8, 2);

        public Holder()
            : base(nameof(Holder)) => RegisterComponents();

        public override Tensor forward(Tensor input) => attention.call(input, input, input).Item1;
    }
}
