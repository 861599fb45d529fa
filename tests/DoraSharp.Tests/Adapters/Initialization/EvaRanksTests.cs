using DoraSharp.Tests.Injection;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Adapters.Initialization;

public class EvaRanksTests
{
    private static readonly LoraOptions Options = new()
    {
        Rank = 4,
        Alpha = 6,
        RankPattern = [new("transposed", 2)],
        Initialization = LoraInitialization.Eva,
        Eva = new() { Rho = 3 },
        TargetModules = ["embedding", "linear", "transposed"],
    };

    [Fact]
    public void Redistribute_InputsOfUnequalVariety_GivesTheRanksToWhatExplainsMost()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        manual_seed(121);
        using MixedModel model = new();
        using MixedModel other = new();
        other.load_state_dict(model.state_dict());
        using InitializationData data = Data(("linear", 22, 3), ("transposed", 37, 30));

        LoraOptions options = EvaRanks.Redistribute(model, Options, data);

        AdapterInjector.Targets(model, Options).Should().Equal("embedding", "linear", "transposed");
        using AdaptedModel adapted = AdapterInjector.Inject(model, options, new() { InitializationData = data });
        Dictionary<string, LoraOptions> sites = adapted.Report.Sites.ToDictionary(site => site.Path, site => (LoraOptions)site.Options);
        (sites["linear"].Rank, sites["transposed"].Rank, sites["embedding"].Rank).Should().Be((3, 3, 4), "three directions explain all of the first layer's inputs");
        (sites["linear"].Alpha, sites["transposed"].Alpha, sites["embedding"].Alpha).Should().Be((4.5, 9, 6));
        LoraAdapter linear = (LoraAdapter)adapted.Layers.Single(layer => layer.Key == "linear").Value["default"];
        Reference.RelativeError(linear.A.matmul(linear.A.t()), eye(3, dtype: ScalarType.Float64)).Should().BeLessThan(1e-12);

        // EVA changes no base weight: a saved adapter needs no data.
        adapted.Layers.ToList().ForEach(layer => Reference.Disturb(layer.Value));
        adapted.Save(folder.Path);
        using AdaptedModel loaded = AdaptedModel.Load(other, folder.Path);
        Reference.SameBits(other.call(MixedModel.Ids()), model.call(MixedModel.Ids())).Should().BeTrue();
    }

    [Fact]
    public void Redistribute_ALayerThatGetsNothing_LeavesTheTargets()
    {
        using var scope = NewDisposeScope();
        manual_seed(122);
        using MixedModel model = new();
        using InitializationData data = Data(("linear", 22, 2), ("transposed", 37, 37));
        LoraOptions options = Options with { Rank = 1, RankPattern = [], TargetModules = ["linear", "transposed"], ExcludeModules = ["convolution"] };

        LoraOptions given = EvaRanks.Redistribute(model, options, data);

        AdapterInjector.Targets(model, given).Should().Equal("linear");
        using AdaptedModel adapted = AdapterInjector.Inject(model, given, new() { InitializationData = data });
        ((LoraOptions)adapted.Report.Sites.Single().Options).Rank.Should().Be(2);
    }

    [Fact]
    public void Redistribute_WrongData_IsRefused()
    {
        using var scope = NewDisposeScope();
        using MixedModel model = new();
        using InitializationData eva = Data(("linear", 22, 3));
        using InitializationData corda = new(LoraInitialization.Corda, new Dictionary<string, Tensor> { ["linear"] = eye(22) });

        model.Invoking(m => EvaRanks.Redistribute(m, Options, eva)).Should().Throw<KeyNotFoundException>().WithMessage("*transposed*");
        model.Invoking(m => EvaRanks.Redistribute(m, Options, corda)).Should().Throw<ArgumentException>().WithMessage("*corda*");
        model.Invoking(m => EvaRanks.Redistribute(m, Options with { Initialization = LoraInitialization.Pissa }, eva)).Should().Throw<ArgumentException>().WithMessage("*pissa*");
        LoraOptions asCorda = Options with { Initialization = LoraInitialization.Corda, RankPattern = [], TargetModules = ["linear"] };
        model.Invoking(m => AdapterInjector.Inject(m, asCorda, new() { InitializationData = eva })).Should().Throw<InvalidOperationException>().WithMessage("*needs data*");
        model.parameters().Should().OnlyContain(parameter => parameter.requires_grad, "nothing was changed");
    }

    /// <summary>Scatter matrices of inputs that vary along some directions equally.</summary>
    private static InitializationData Data(params (string Path, int Inputs, int Directions)[] layers) => new(LoraInitialization.Eva, layers.ToDictionary(layer => layer.Path, layer =>
    {
        Tensor directions = linalg.qr(randn(layer.Inputs, layer.Directions, dtype: ScalarType.Float64)).Q;
        return directions.matmul(directions.t());
    }));
}
