using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection;

public class AdaptedModelFilesTests
{
    [Theory]
    [InlineData(false, "default")]
    [InlineData(true, "default")]
    [InlineData(true, "german")]
    public void SaveAndLoad_IntoAFreshModel_GivesTheSameOutputBitForBit(bool dora, string name)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        manual_seed(71);
        using OpenFields model = new();
        using OpenFields other = new();
        other.load_state_dict(model.state_dict());
        Tensor x = randn(5, 24, dtype: ScalarType.Float64);
        LoraOptions options = new() { Rank = 4, Alpha = 6, UseDora = dora, UseRsLora = true, RankPattern = [new("down", 2)], TaskType = "CAUSAL_LM" };
        using AdaptedModel adapted = AdapterInjector.Inject(model, options, new() { AdapterName = name });
        adapted.Layers.ToList().ForEach(layer => Reference.Disturb(layer.Value));
        adapted.Save(folder.Path, new() { BaseModelNameOrPath = "some/base" });

        using AdaptedModel loaded = AdaptedModel.Load(other, folder.Path, new() { AdapterName = name });

        Reference.SameBits(other.call(x), model.call(x)).Should().BeTrue();
        loaded.Report.Sites.Select(site => ((LoraOptions)site.Options).Rank).Should().Equal(4, 2);
        loaded.TrainableParameters().Should().HaveCount(dora ? 6 : 4);
        Directory.Exists(Path.Combine(folder.Path, "german")).Should().Be(name == "german");

        using TemporaryFolder again = new();
        loaded.Save(again.Path);
        string sub = name == "default" ? "" : name;
        foreach (string file in (string[])["adapter_config.json", "adapter_model.safetensors"])
        {
            File.ReadAllBytes(Path.Combine(again.Path, sub, file)).Should().Equal(File.ReadAllBytes(Path.Combine(folder.Path, sub, file)));
        }
    }

    [Fact]
    public void Load_TrainedFurther_RestoresTheSavedValues()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        manual_seed(72);
        using OpenFields model = new();
        Tensor x = randn(5, 24, dtype: ScalarType.Float64);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { UseDora = true });
        adapted.Layers.ToList().ForEach(layer => Reference.Disturb(layer.Value));
        adapted.Save(folder.Path);
        Tensor saved = model.call(x);
        adapted.Layers.ToList().ForEach(layer => Reference.Disturb(layer.Value, seed: 8));
        Reference.RelativeError(model.call(x), saved).Should().BeGreaterThan(0.01);

        adapted.Load(folder.Path);

        Reference.SameBits(model.call(x), saved).Should().BeTrue();
        adapted.Merge();
        adapted.Invoking(a => a.Load(folder.Path)).Should().Throw<InvalidOperationException>().WithMessage("*Unmerge*");
    }

    [Fact]
    public void Load_OtherOptions_IsRefusedAndChangesNothing()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using OpenFields model = new();
        using OpenFields other = new();
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 4 });
        adapted.Save(folder.Path);
        using AdaptedModel stronger = AdapterInjector.Inject(other, new() { Rank = 4, Alpha = 32 });
        Tensor[] before = [.. other.parameters().Select(p => p.detach().clone())];

        stronger.Invoking(a => a.Load(folder.Path)).Should().Throw<InvalidDataException>().WithMessage("*alpha 8*alpha 32*Nothing was loaded*");
        other.parameters().Zip(before, Reference.SameBits).Should().OnlyContain(same => same);
    }

    [Fact]
    public void Load_MissingUnexpectedAndMisshapenTensors_NamesThemAndLeavesTheModelAsItWas()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using OpenFields model = new();
        LoraOptions options = new() { Rank = 4, TargetModules = ["up", "down"] };
        PeftFolder.Write(folder.Path, options, [
            new("up", "lora_A.weight", randn(4, 24)),
            new("up", "lora_B.weight", randn(40, 5)),
            new("down", "lora_A.weight", randn(4, 40)),
            new("side", "lora_A.weight", randn(4, 40)),
        ]);
        Tensor[] before = [.. model.parameters().Select(p => p.detach().clone())];

        FluentActions.Invoking(() => AdaptedModel.Load(model, folder.Path)).Should().Throw<InvalidDataException>()
            .WithMessage("*missing: down.lora_B.weight*unexpected: side.lora_A.weight*up.lora_B.weight is [40, 5], the model's is [40, 4]*Nothing was loaded*");
        model.modules().Should().OnlyContain(m => m is Linear);
        model.parameters().Should().OnlyContain(p => p.requires_grad);
        model.parameters().Zip(before, Reference.SameBits).Should().OnlyContain(same => same);

        using AdaptedModel adapted = AdapterInjector.Inject(model, options);
        Tensor[] adapters = [.. adapted.TrainableParameters().Select(p => p.detach().clone())];
        adapted.Invoking(a => a.Load(folder.Path)).Should().Throw<InvalidDataException>().WithMessage("*Nothing was loaded*");
        adapted.TrainableParameters().Zip(adapters, Reference.SameBits).Should().OnlyContain(same => same);
    }

    [Fact]
    public void Load_HostileRankPatternOrValues_IsRefusedBeforeAnythingIsMade()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using OpenFields model = new();
        LoraOptions options = new() { Rank = 4, TargetModules = ["up"] };
        Tensor b = randn(40, 4);
        PeftTensor[] tensors = [new("up", "lora_A.weight", randn(4, 24)), new("up", "lora_B.weight", b)];
        PeftFolder.Write(folder.Path, options with { Rank = 2_000_000_000 }, tensors);
        FluentActions.Invoking(() => AdaptedModel.Load(model, folder.Path)).Should().Throw<InvalidDataException>().WithMessage("*rank 2000000000*no tensor in the file*");

        PeftFolder.Write(folder.Path, options with { TargetModules = "(u+)+q" }, tensors);
        FluentActions.Invoking(() => AdaptedModel.Load(model, folder.Path)).Should().Throw<ArgumentException>();

        b[3, 2] = float.NaN;
        PeftFolder.Write(folder.Path, options, tensors);
        using (AdaptedModel loaded = AdaptedModel.Load(model, folder.Path))
        {
            loaded.Report.Warnings.Should().ContainSingle().Which.Should().Contain("'up.lora_B.weight'").And.Contain("not finite");
            FluentActions.Invoking(() => loaded.Merge()).Should().Throw<InvalidOperationException>().WithMessage("*up*not finite*");
        }

        model.modules().Should().OnlyContain(m => m is Linear);
    }

    [Fact]
    public void Load_UnknownFieldInTheConfiguration_IsAWarningOnTheReport()
    {
        using TemporaryFolder folder = new();
        using OpenFields model = new();
        using (AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 4 }))
        {
            adapted.Save(folder.Path);
        }

        string config = folder.File("adapter_config.json");
        File.WriteAllText(config, File.ReadAllText(config).Replace("{\n", "{\n  \"a_new_field\": 1,\n", StringComparison.Ordinal));
        using AdaptedModel loaded = AdaptedModel.Load(model, folder.Path);
        loaded.Report.Warnings.Should().ContainSingle().Which.Should().Contain("a_new_field");
        loaded.Report.ToString().Should().Contain("a_new_field");
    }

    [Fact]
    public void Load_NoFolder_NamesItAndLeavesTheModelAsItWas()
    {
        using OpenFields model = new();
        FluentActions.Invoking(() => AdaptedModel.Load(model, "no-such-folder")).Should().Throw<DirectoryNotFoundException>().WithMessage("*no-such-folder*");
        model.modules().Should().OnlyContain(m => m is Linear);
    }

    [Fact]
    public void Save_HalfPrecisionAdapter_KeepsItsDtype()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using OpenFields model = new();
        using AdaptedModel adapted = AdapterInjector.Inject(model, new());
        model.to(ScalarType.BFloat16);
        adapted.Save(folder.Path);

        using PeftFolder file = PeftFolder.Read(folder.Path);
        file.Tensors.Should().OnlyContain(tensor => tensor.Value.dtype == ScalarType.BFloat16);
    }
}
