using System.Text.Json;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Optimization;

public class LoraPlusTests
{
    private static readonly LoraPlusOptions Options = new() { LearningRate = 1e-3, Ratio = 16, WeightDecay = 0.1, EmbeddingLearningRate = 1e-5 };

    [Fact]
    public void Groups_GoldenCase_ArePefts()
    {
        using var scope = NewDisposeScope();
        string folder = SharedFolder.Require("fixtures", "peft", "opt_loraplus");
        using JsonDocument description = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "case.json")));
        using SafetensorsReader file = SafetensorsReader.Open(Path.Combine(folder, "default", "adapter_model.safetensors"));
        NamedParameter[] parameters = [.. file.Entries.Select(entry => Named(entry.Name["base_model.model.".Length..], [.. entry.Shape]))];
        JsonElement call = description.RootElement.GetProperty("call");
        IReadOnlyList<AdamW.ParamGroup> groups = LoraPlus.Groups(parameters, new()
        {
            LearningRate = call.GetProperty("lr").GetDouble(),
            Ratio = call.GetProperty("loraplus_lr_ratio").GetDouble(),
            WeightDecay = call.GetProperty("loraplus_weight_decay").GetDouble(),
            EmbeddingLearningRate = call.GetProperty("loraplus_lr_embedding").GetDouble(),
        });

        JsonElement[] expected = [.. description.RootElement.GetProperty("groups").EnumerateArray()];
        groups.Should().HaveCount(expected.Length);
        foreach ((AdamW.ParamGroup group, JsonElement golden) in groups.Zip(expected))
        {
            group.LearningRate.Should().BeApproximately(golden.GetProperty("lr").GetDouble(), 1e-12);
            group.Options.weight_decay.Should().Be(golden.GetProperty("weight_decay").GetDouble());
            Names(group, parameters).Should().BeEquivalentTo(golden.GetProperty("params").EnumerateArray().Select(name => name.GetString()));
        }
    }

    [Fact]
    public void Groups_ConvolutionNormalisationAndFrozen_FollowPeftsRule()
    {
        using var scope = NewDisposeScope();
        NamedParameter[] parameters =
        [
            Named("conv.lora_A.weight", 2, 9), Named("conv.lora_B.weight", 5, 2),
            Named("conv.lora_magnitude_vector", 5) with { FileRank = 4 },
            Named("norm.weight", 5) with { IsNormalisation = true }, Named("scale", 5), Named("frozen.bias", 5),
        ];
        parameters[^1].Parameter.requires_grad = false;
        IReadOnlyList<AdamW.ParamGroup> groups = LoraPlus.Groups(parameters, Options);

        groups.Select(group => string.Join(' ', Names(group, parameters))).Should().Equal(
            "conv.lora_A.weight conv.lora_magnitude_vector", "conv.lora_B.weight scale", "norm.weight");
        groups.Select(group => group.Options.weight_decay).Should().Equal(0.1, 0.1, 0);
    }

    [Fact]
    public void Groups_SeparateMagnitudes_LearnAtTheBaseRateWithoutDecay()
    {
        using var scope = NewDisposeScope();
        NamedParameter[] parameters =
        [
            Named("fc.lora_A.weight", 2, 9), Named("fc.lora_B.weight", 5, 2), Named("fc.lora_magnitude_vector", 5), Named("conv.lora_magnitude_vector", 5) with { FileRank = 4 },
        ];
        IReadOnlyList<AdamW.ParamGroup> groups = LoraPlus.Groups(parameters, Options with { SeparateMagnitudes = true });

        Names(groups[^1], parameters).Should().Equal("fc.lora_magnitude_vector", "conv.lora_magnitude_vector");
        groups[^1].LearningRate.Should().Be(1e-3);
        groups[^1].Options.weight_decay.Should().Be(0);
        Names(groups[1], parameters).Should().Equal("fc.lora_B.weight");
    }

    [Fact]
    public void Groups_OfAModel_MoveEachPartAtItsRate()
    {
        using var scope = NewDisposeScope();
        manual_seed(31);
        using Linear inner = nn.Linear(37, 23);
        using Sequential model = nn.Sequential(("fc", inner));
        using AdaptedModel adapted = AdapterInjector.Inject(model, new LoraOptions { Rank = 4, UseDora = true, TargetModules = ["fc"] });
        Reference.Disturb(adapted.Layers[0].Value);
        LoraAdapter dora = (LoraAdapter)adapted.Layers[0].Value["default"];
        using AdamW optimizer = optim.AdamW(LoraPlus.Groups(adapted, Options with { WeightDecay = 0 }), eps: 0);
        using Tensor a = dora.A.detach().clone();
        using Tensor b = dora.B.detach().clone();
        using Tensor m = dora.Magnitude!.detach().clone();
        model.call(randn(11, 37)).square().mean().backward();
        optimizer.step();

        // Adam's first step moves every element by its learning rate.
        Moved(dora.A, a).Should().BeApproximately(1e-3, 1e-6);
        Moved(dora.B, b).Should().BeApproximately(16e-3, 1e-6);
        Moved(dora.Magnitude!, m).Should().BeApproximately(16e-3, 1e-5);

        static double Moved(Tensor after, Tensor before) => (after.detach() - before).abs().max().item<float>();
    }

    [Fact]
    public void Groups_NothingTrains_Fails()
    {
        using var scope = NewDisposeScope();
        NamedParameter parameter = Named("fc.lora_B.weight", 5, 2);
        parameter.Parameter.requires_grad = false;
        Action groups = () => LoraPlus.Groups([parameter], Options);

        groups.Should().Throw<InvalidOperationException>().WithMessage("Nothing trains*");
    }

    [Fact]
    public void Options_ValuesOutOfRange_NameThem()
    {
        Throws(() => _ = Options with { LearningRate = -1 }, nameof(LoraPlusOptions.LearningRate));
        Throws(() => _ = Options with { Ratio = 0 }, nameof(LoraPlusOptions.Ratio));
        Throws(() => _ = Options with { EmbeddingLearningRate = double.NaN }, nameof(LoraPlusOptions.EmbeddingLearningRate));
        Throws(() => _ = Options with { WeightDecay = double.PositiveInfinity }, nameof(LoraPlusOptions.WeightDecay));

        static void Throws(Action action, string name) => action.Should().Throw<ArgumentOutOfRangeException>().WithParameterName(name);
    }

    private static NamedParameter Named(string name, params long[] shape) => new(name, new Parameter(ones(shape)), shape.Length);

    private static IEnumerable<string> Names(AdamW.ParamGroup group, NamedParameter[] parameters) =>
        group.Parameters.Select(parameter => parameters.Single(named => ReferenceEquals(named.Parameter, parameter)).Name);
}
