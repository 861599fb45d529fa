using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection.Lifecycle;

/// <summary>An embedding and an output head that are one weight: adapters, whole copies and trained rows.</summary>
public class TiedEmbeddingTests
{
    [Theory]
    [InlineData("embed", false)]
    [InlineData("head", false)]
    [InlineData("embed", true)]
    [InlineData("head", true)]
    public void Lora_OnOneOrBoth_MergesToTheAdaptedOutput(string target, bool ensuresTying)
    {
        using var scope = NewDisposeScope();
        using TrainedModel model = TrainedModel.Make(tied: true);
        Tensor x = TrainedModel.Input();
        Tensor bare = model.call(x);
        using AdaptedModel adapted = AdapterInjector.Inject(
            model, new() { Rank = 2, TargetModules = [target], EnsureWeightTying = ensuresTying }, new() { AdapterName = "a" });
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        Training.Disturb(adapted, "a");
        Tensor y = model.call(x);
        adapted.TrainableParameters().Should().HaveCount(2);
        Tensor weight = Weight(model, "head").detach().clone();
        if (ensuresTying)
        {
            Reference.RelativeError(adapted.Layers[0].Value.EffectiveWeight(), adapted.Layers[1].Value.EffectiveWeight().t()).Should().BeLessThan(1e-12);
        }

        adapted.Merge();
        Reference.RelativeError(model.call(x), y).Should().BeLessThan(1e-12);
        adapted.Unmerge();
        Reference.SameBits(model.call(x), y).Should().BeTrue();
        Reference.SameBits(Weight(model, "head"), weight).Should().BeTrue();
        adapted.MergeAndUnload();
        Reference.RelativeError(model.call(x), y).Should().BeLessThan(1e-12);
    }

    [Fact]
    public void MergeAndUnload_AnotherLayerMergedByHandBefore_StillSeparatesTheWeights()
    {
        using var scope = NewDisposeScope();
        using TrainedModel model = TrainedModel.Make(tied: true);
        Tensor x = TrainedModel.Input();
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 2, TargetModules = ["head", "up"] }, new() { AdapterName = "a" });
        Training.Disturb(adapted, "a");
        Tensor y = model.call(x);
        adapted.Layers.First(layer => layer.Key == "up").Value.Merge();
        adapted.MergeAndUnload();
        Reference.RelativeError(model.call(x), y).Should().BeLessThan(1e-12);
    }

    [Theory]
    [InlineData("embed")]
    [InlineData("head")]
    public void ModulesToSave_OneOfTheTwo_LeavesTheOtherOneTheBase(string saved)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using TrainedModel model = TrainedModel.Make(tied: true);
        Tensor x = TrainedModel.Input();
        Tensor bare = model.call(x);
        using AdaptedModel adapted = AdapterInjector.Inject(model, Saving(saved), new() { AdapterName = "a" });
        Training.Disturb(adapted, "a");

        // The same function with two weights of their own.
        using TrainedModel original = TrainedModel.Make(tied: true);
        using TrainedModel untied = TrainedModel.Make();
        Tensor trained = adapted.Swapped.Training().Single();
        using (no_grad())
        {
            foreach ((string name, Parameter parameter) in untied.named_parameters())
            {
                parameter.copy_(name == $"{saved}.weight" ? trained : name is "head.weight" ? Weight(original, "embed") : original.named_parameters().First(p => p.name == name).parameter);
            }

            Add(untied, adapted);
        }

        Tensor y = model.call(x);
        Reference.RelativeError(y, untied.call(x)).Should().BeLessThan(1e-12);
        using (adapted.Disable())
        {
            Reference.SameBits(model.call(x), bare).Should().BeTrue();
        }

        Reference.SameBits(model.call(x), y).Should().BeTrue();
        adapted.Save(folder.Path);
        Reference.SameBits(Training.Solo(TrainedModel.Make(tied: true), folder.File("a"), x), y).Should().BeTrue();
        adapted.Unload();
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ModulesToSave_Both_SwitchesAndRestores(bool ensuresTying)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using TrainedModel model = TrainedModel.Make(tied: true);
        Tensor x = TrainedModel.Input();
        Tensor bare = model.call(x);
        LoraOptions options = ensuresTying ? Saving("embed") with { EnsureWeightTying = true } : Saving("embed", "head");
        using AdaptedModel adapted = AdapterInjector.Inject(model, options, new() { AdapterName = "a" });
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        using (var optimizer = optim.AdamW(adapted.TrainableParameters(), lr: 1e-2))
        {
            Training.Step(optimizer, () => model.call(x));
        }

        Tensor y = model.call(x);
        if (ensuresTying)
        {
            Reference.SameBits(Weight(model, "embed"), Weight(model, "head")).Should().BeTrue("the two stay one");
        }

        adapted.Activate();
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        adapted.Activate("a");
        Reference.SameBits(model.call(x), y).Should().BeTrue();
        adapted.Save(folder.Path);
        Reference.SameBits(Training.Solo(TrainedModel.Make(tied: true), folder.File("a"), x), y).Should().BeTrue();
        adapted.Unload();
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        model.parameters().Should().OnlyContain(p => p.requires_grad);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void TrainableTokens_ChangeTheirRowsOnly(bool tied)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using TrainedModel model = TrainedModel.Make(tied);
        Tensor x = TrainedModel.Input();
        Tensor bare = model.call(x);
        LoraOptions options = new() { Rank = 2, TargetModules = ["up"], TrainableTokens = [new("embed", 11, 2, 5)] };
        using AdaptedModel adapted = AdapterInjector.Inject(model, options, new() { AdapterName = "a" });
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        adapted.TrainableParameters().Should().HaveCount(3);
        model.call(x).square().sum().backward();
        Training.Disturb(adapted, "a");
        Tensor rows = adapted.Layers.Select(layer => layer.Value["a"]).OfType<TokenAdapter>().First().Rows;
        rows.shape.Should().Equal(3, 8);
        rows.grad.Should().NotBeNull();

        Tensor expected = Weight(model, "embed").detach().clone();
        expected[tensor(new long[] { 11, 2, 5 })] = rows.detach();
        Tensor y = model.call(x);
        using TrainedModel dense = TrainedModel.Make(tied);
        using (no_grad())
        {
            Weight(dense, "embed").copy_(expected);
            Add(dense, adapted);
        }

        Reference.RelativeError(y, dense.call(x)).Should().BeLessThan(1e-12);
        adapted.Add("b", options with { TrainableTokens = [new("embed", 0)] });
        adapted.Activate("b");
        Reference.SameBits(model.call(x), bare).Should().BeTrue();
        adapted.Activate("a");
        using (adapted.Disable())
        {
            Reference.SameBits(model.call(x), bare).Should().BeTrue();
        }

        adapted.Save(folder.Path);
        using (PeftFolder file = PeftFolder.Read(folder.File("a")))
        {
            file.Tensors.Select(tensor => tensor.Name).Should().BeEquivalentTo("up.lora_A.weight", "up.lora_B.weight", "embed.token_adapter.trainable_tokens_delta");
        }

        Reference.SameBits(Training.Solo(TrainedModel.Make(tied), folder.File("a"), x), y).Should().BeTrue();
        adapted.Merge();
        Reference.RelativeError(model.call(x), y).Should().BeLessThan(1e-12);
        adapted.Unmerge();
        Reference.SameBits(model.call(x), y).Should().BeTrue();
        adapted.MergeAndUnload();
        Reference.RelativeError(model.call(x), y).Should().BeLessThan(1e-12);
        Reference.RelativeError(Weight(model, "embed"), expected).Should().BeLessThan(1e-15);
    }

    private static LoraOptions Saving(params IReadOnlyList<string> modules) => new() { Rank = 2, TargetModules = ["up"], ModulesToSave = modules };

    private static Parameter Weight(TrainedModel model, string module)
    {
        nn.Module found = model.named_modules().First(m => m.name == module).module;
        return (found is AdaptedLayer adapted ? adapted.BaseModule : found).get_parameter("weight")!;
    }

    /// <summary>Puts the effective weight of the adapted layer "up" into a plain model.</summary>
    private static void Add(TrainedModel plain, AdaptedModel adapted) =>
        Weight(plain, "up").copy_(adapted.Layers.First(layer => layer.Key == "up").Value.EffectiveWeight());
}
