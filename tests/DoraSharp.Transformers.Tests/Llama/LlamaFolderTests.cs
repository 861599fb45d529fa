using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Transformers.Tests;

/// <summary>Saving, and what <see cref="LlamaForCausalLM.Load"/> says to odd and to damaged folders.</summary>
public class LlamaFolderTests
{
    private static readonly LlamaConfig Small = new()
    {
        VocabSize = 31,
        HiddenSize = 24,
        IntermediateSize = 40,
        LayerCount = 2,
        HeadCount = 4,
        KeyValueHeadCount = 2,
    };

    [Theory]
    [InlineData("llama-inv-freq", true)]
    [InlineData("llama-tied-only-head", true)]
    [InlineData("llama-tied-both-equal", true)]
    [InlineData("llama-base-into-lm", true)]
    [InlineData("llama-tied-conflict", false)]
    public void Load_OddLayoutOfARealFolder_GivesTheGoldenLogits(string name, bool tied)
    {
        using var scope = NewDisposeScope();
        var golden = GoldenCase.Tiny("layouts");
        using var model = LlamaForCausalLM.Load(golden.Folder(name));

        golden.Excess(model.call(golden.Tensor($"{name}.input_ids")), golden.Tensor($"{name}.logits")).Should().BeNegative();
        model.Config.TieWordEmbeddings.Should().Be(tied);
    }

    [Theory]
    [InlineData(false, ScalarType.Float32)]
    [InlineData(true, ScalarType.Float32)]
    [InlineData(true, ScalarType.BFloat16)]
    [InlineData(false, ScalarType.Float16)]
    public void Load_SavedModel_IsBitForBitTheSame(bool tied, ScalarType dtype)
    {
        manual_seed(7);
        using var folder = new TemporaryFolder();
        using var model = new LlamaForCausalLM(Small with { TieWordEmbeddings = tied, AttentionBias = true, EosTokenIds = [4, 9] }, dtype: dtype);

        model.Save(folder.File("new/model"));
        using var loaded = LlamaForCausalLM.Load(folder.File("new/model"));

        loaded.Config.Should().BeEquivalentTo(model.Config);
        ShouldBeEqual(loaded.state_dict(), model.state_dict());
        Directory.EnumerateFileSystemEntries(folder.File("new/model")).Select(Path.GetFileName).Should().BeEquivalentTo("config.json", "model.safetensors");
    }

    [Fact]
    public void Save_InBFloat16_StoresTheRoundedWeights()
    {
        using var scope = NewDisposeScope();
        using var folder = new TemporaryFolder();
        using var model = new LlamaForCausalLM(Small);

        model.Save(folder.Path, ScalarType.BFloat16);
        using var loaded = LlamaForCausalLM.Load(folder.Path);

        ShouldBeEqual(loaded.state_dict(), model.state_dict().ToDictionary(pair => pair.Key, pair => pair.Value.to(ScalarType.BFloat16)));
        model.parameters().Should().OnlyContain(parameter => parameter.dtype == ScalarType.Float32);
        File.ReadAllText(folder.File("config.json")).Should().Contain("\"torch_dtype\": \"bfloat16\"");
    }

    [Fact]
    public void Save_OverAnOlderModel_ReplacesIt()
    {
        using var folder = new TemporaryFolder();
        using (var older = new LlamaForCausalLM(Small with { LayerCount = 1 }))
        {
            older.Save(folder.Path);
        }

        using var model = new LlamaForCausalLM(Small);
        model.Save(folder.Path);

        using var loaded = LlamaForCausalLM.Load(folder.Path);
        ShouldBeEqual(loaded.state_dict(), model.state_dict());
    }

    [Fact]
    public void Save_ModelWithAdapters_IsRefusedAndWritesNothing()
    {
        using var folder = new TemporaryFolder();
        using var model = new LlamaForCausalLM(Small);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new LoraOptions { TargetModules = ["q_proj"] });

        model.Invoking(m => m.Save(folder.Path)).Should().Throw<InvalidOperationException>().WithMessage("*adapters*");
        Directory.EnumerateFileSystemEntries(folder.Path).Should().BeEmpty();
    }

    [Fact]
    public void SaveAndConstructor_DTypeThatNoModelHas_Throw()
    {
        using var folder = new TemporaryFolder();
        using var model = new LlamaForCausalLM(Small);

        model.Invoking(m => m.Save(folder.Path, ScalarType.Int64)).Should().Throw<ArgumentException>().WithMessage("*Int64*");
        model.Invoking(_ => new LlamaForCausalLM(Small, dtype: ScalarType.Int8)).Should().Throw<ArgumentException>().WithMessage("*Int8*");
    }

    [Fact]
    public void Dispose_LoadedModel_LeavesNoTensorBehind()
    {
        using var folder = new TemporaryFolder();
        using var model = new LlamaForCausalLM(Small with { AttentionBias = true });
        long before = DisposeScopeManager.Statistics.ThreadTotalLiveCount;

        model.Save(folder.Path, ScalarType.BFloat16);
        DisposeScopeManager.Statistics.ThreadTotalLiveCount.Should().Be(before);
        var loaded = LlamaForCausalLM.Load(folder.Path);
        DisposeScopeManager.Statistics.ThreadTotalLiveCount.Should().Be(before + loaded.parameters().Count());
        loaded.Dispose();
        DisposeScopeManager.Statistics.ThreadTotalLiveCount.Should().Be(before);
    }

    [Fact]
    public void Load_Shards_AreTheSameModelAsOneFile()
    {
        using var folder = new TemporaryFolder();
        using var sharded = LlamaForCausalLM.Load(GoldenCase.Tiny("llama-sharded").Model);

        sharded.Save(folder.Path);
        using var single = LlamaForCausalLM.Load(folder.Path);

        ShouldBeEqual(single.state_dict(), sharded.state_dict());
    }

    [Fact]
    public void Load_MixedDTypes_TakesTheNarrowestThatHoldsAll()
    {
        using var folder = new TemporaryFolder();
        Write(folder, Small, (name, tensor) => tensor.to(name.EndsWith("norm.weight", StringComparison.Ordinal) ? ScalarType.Float16 : ScalarType.BFloat16));

        using var model = LlamaForCausalLM.Load(folder.Path);

        model.parameters().Should().OnlyContain(parameter => parameter.dtype == ScalarType.Float32);
    }

    [Fact]
    public void Load_IntegerTensor_IsRefusedByName()
    {
        using var folder = new TemporaryFolder();
        Write(folder, Small, (name, tensor) => name == "model.norm.weight" ? tensor.to(ScalarType.Int8) : tensor);

        Loading(folder.Path).Should().Throw<NotSupportedException>().WithMessage($"*{folder.Path}*model.norm.weight*Int8*");
    }

    [Fact]
    public void Load_TensorsThatDoNotFit_AreAllNamed()
    {
        using var folder = new TemporaryFolder();
        Write(folder, Small with { IntermediateSize = 38 }, (name, tensor) => name == "model.norm.weight" ? null : tensor, ("model.extra.weight", 3));
        File.WriteAllText(folder.File("config.json"), Small.ToJson());

        Loading(folder.Path).Should().Throw<InvalidDataException>().WithMessage(
            $"*{folder.File("model.safetensors")}*missing: model.norm.weight*unexpected: model.extra.weight*misshapen: model.layers.0.mlp.gate_proj.weight is [38, 24] and not [40, 24]*");
    }

    [Fact]
    public void Load_ConfigThatClaimsBillionsOfLayers_IsRefusedAtOnce()
    {
        using var folder = new TemporaryFolder();
        Write(folder, Small, (_, tensor) => tensor);
        File.WriteAllText(folder.File("config.json"), (Small with { LayerCount = int.MaxValue, VocabSize = int.MaxValue }).ToJson());

        Loading(folder.Path).Should().Throw<InvalidDataException>().WithMessage("*missing: model.layers.2.*");
    }

    [Fact]
    public void Load_UntiedModelWithoutHead_IsMissingIt()
    {
        using var folder = new TemporaryFolder();
        Write(folder, Small, (name, tensor) => name == "lm_head.weight" ? null : tensor);

        Loading(folder.Path).Should().Throw<InvalidDataException>().WithMessage("*missing: lm_head.weight.");
    }

    [Fact]
    public void Load_FolderWithoutItsFiles_SaysWhichIsMissing()
    {
        using var folder = new TemporaryFolder();
        Loading(folder.File("absent")).Should().Throw<DirectoryNotFoundException>().WithMessage("*absent*does not exist*");
        Loading(folder.Path).Should().Throw<FileNotFoundException>().WithMessage($"*{folder.File("config.json")}*");

        folder.Write("config.json", Small.ToJson());
        Loading(folder.Path).Should().Throw<FileNotFoundException>().WithMessage($"*{folder.Path}*model.safetensors*");

        folder.Write("pytorch_model.bin", "");
        Loading(folder.Path).Should().Throw<FileNotFoundException>().WithMessage("*pytorch_model.bin is not read*");
    }

    [Theory]
    [InlineData("{", "not valid JSON")]
    [InlineData("{}", "lacks 'weight_map'")]
    [InlineData("{\"weight_map\": {\"lm_head.weight\": 3}}", "'lm_head.weight' is 3")]
    [InlineData("{\"weight_map\": {\"lm_head.weight\": \"absent.safetensors\"}}", "absent.safetensors")]
    [InlineData("{\"weight_map\": {\"lm_head.weight\": \"../one.safetensors\"}}", "no file of that folder")]
    [InlineData("{\"weight_map\": {\"nothing\": \"one.safetensors\"}}", "'nothing'")]
    [InlineData("{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"two.safetensors\"}}", "The tensor 'a' is in")]
    public void Load_DamagedIndex_IsNamedWithItsPlace(string index, string message)
    {
        using var folder = new TemporaryFolder();
        folder.Write("config.json", Small.ToJson());
        folder.Write("model.safetensors.index.json", index);
        using Tensor tensor = zeros(2);
        SafetensorsWriter.Write(folder.File("one.safetensors"), [new("a", tensor)]);
        SafetensorsWriter.Write(folder.File("two.safetensors"), [new("a", tensor), new("b", tensor)]);

        Loading(folder.Path).Should().Throw<InvalidDataException>().WithMessage($"*{message}*").Which.Message.Should().Contain(folder.Path);
    }

    [Fact]
    public void Load_DamagedWeights_NamesTheFileAndLeavesItUnlocked()
    {
        using var folder = new TemporaryFolder();
        folder.Write("config.json", Small.ToJson());
        string weights = folder.Write("model.safetensors", "no tensors here");

        Loading(folder.Path).Should().Throw<InvalidDataException>().WithMessage($"*{weights}*");
        File.Delete(weights);
    }

    private static Action Loading(string folder) => () => LlamaForCausalLM.Load(folder).Dispose();

    /// <summary>Writes a model folder whose tensors are changed, or left out.</summary>
    private static void Write(TemporaryFolder folder, LlamaConfig config, Func<string, Tensor, Tensor?> change, params (string Name, long Size)[] extra)
    {
        using var scope = NewDisposeScope();
        using var model = new LlamaForCausalLM(config);
        IEnumerable<KeyValuePair<string, Tensor>> tensors = model.state_dict()
            .Select(pair => KeyValuePair.Create(pair.Key, change(pair.Key, pair.Value)!))
            .Where(pair => pair.Value is not null)
            .Concat(extra.Select(pair => KeyValuePair.Create(pair.Name, zeros(pair.Size))));
        SafetensorsWriter.Write(folder.File("model.safetensors"), tensors);
        folder.Write("config.json", config.ToJson());
    }

    private static void ShouldBeEqual(Dictionary<string, Tensor> actual, Dictionary<string, Tensor> expected)
    {
        actual.Keys.Should().BeEquivalentTo(expected.Keys);
        foreach ((string name, Tensor tensor) in expected)
        {
            actual[name].dtype.Should().Be(tensor.dtype);
            actual[name].Equals(tensor).Should().BeTrue(name);
        }
    }
}
