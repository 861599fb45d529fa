using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection.Lifecycle;

/// <content>What is saved of them.</content>
public partial class SwappedParametersTests
{
    [Fact]
    public void Save_KeysAndShapes_ArePefts()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        Keys(Biases).Should().BeEquivalentTo("up.lora_A.weight", "up.lora_B.weight", "up.base_layer.bias", "norm.bias", "batch.bias", "down.bias");
        Keys(Of("lora only")).Should().BeEquivalentTo("up.lora_A.weight", "up.lora_B.weight", "up.base_layer.bias");

        // A copy of a module has its buffers too.
        Keys(Modules).Should().BeEquivalentTo(
            "up.lora_A.weight", "up.lora_B.weight", "norm.weight", "norm.bias", "down.weight", "down.bias", "embed.weight",
            "batch.weight", "batch.bias", "batch.running_mean", "batch.running_var", "batch.num_batches_tracked");

        string[] Keys(LoraOptions options)
        {
            using AdaptedModel adapted = AdapterInjector.Inject(TrainedModel.Make(), options);
            adapted.Save(folder.Path);
            using PeftFolder file = PeftFolder.Read(folder.Path);
            return [.. file.Tensors.Select(tensor => tensor.Name)];
        }
    }

    [Fact]
    public void Save_InHalfPrecision_LeavesCountersWholeAndIsRemembered()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using TrainedModel model = TrainedModel.Make();
        using AdaptedModel adapted = AdapterInjector.Inject(model, Modules);
        adapted.Save(folder.Path, new() { TensorType = ScalarType.BFloat16 });
        using (PeftFolder file = PeftFolder.Read(folder.Path))
        {
            file.Metadata.TensorType.Should().Be(ScalarType.BFloat16);
            file.Tensors.Should().OnlyContain(tensor => tensor.Value.dtype == (tensor.Name == "batch.num_batches_tracked" ? ScalarType.Int64 : ScalarType.BFloat16));
        }

        byte[] bytes = File.ReadAllBytes(folder.File("adapter_model.safetensors"));
        using TrainedModel other = TrainedModel.Make();
        using AdaptedModel loaded = AdaptedModel.Load(other, folder.Path);
        loaded.Save(folder.Path);
        File.ReadAllBytes(folder.File("adapter_model.safetensors")).Should().Equal(bytes);
    }

    [Fact]
    public void Save_LayerThatAnotherAdapterAdapts_IsFoldedOverItsOwnValues()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using TrainedModel model = TrainedModel.Make();
        Tensor x = TrainedModel.Input();
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 2, UseDora = true, TargetModules = ["down"] }, new() { AdapterName = "a" });
        Tensor a = Trained(adapted, "a", x);
        adapted.Add("whole", new() { Rank = 2, TargetModules = ["up"], ModulesToSave = ["down"] });
        adapted.Activate("whole");
        Tensor whole = Trained(adapted, "whole", x);
        adapted.Activate("whole", "a");
        Tensor both = model.call(x);
        Reference.RelativeError(both, whole).Should().BeGreaterThan(1e-4);
        adapted.Save(folder.Path, adapterName: "whole");
        Reference.SameBits(Training.Solo(TrainedModel.Make(), folder.File("whole"), x), whole).Should().BeTrue();
        byte[] file = File.ReadAllBytes(folder.File("whole/adapter_model.safetensors"));
        adapted.Merge();
        Reference.RelativeError(model.call(x), both).Should().BeLessThan(1e-12);
        adapted.Save(folder.Path, adapterName: "whole");
        File.ReadAllBytes(folder.File("whole/adapter_model.safetensors")).Should().Equal(file);
        adapted.Unmerge();
        Reference.SameBits(model.call(x), both).Should().BeTrue();
        adapted.Activate("a");
        Reference.SameBits(model.call(x), a).Should().BeTrue("the norms are those of the base again");
    }

    [Fact]
    public void Save_WhileMerged_IsTheSameFile()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using TrainedModel model = TrainedModel.Make();
        using AdaptedModel adapted = AdapterInjector.Inject(model, Biases with { LoraBias = true });
        Training.Disturb(adapted, "default");
        adapted.Save(folder.Path);
        byte[] before = File.ReadAllBytes(folder.File("adapter_model.safetensors"));
        adapted.Merge();
        adapted.Save(folder.Path);
        File.ReadAllBytes(folder.File("adapter_model.safetensors")).Should().Equal(before);
        adapted.Unmerge();
        adapted.Save(folder.Path);
        File.ReadAllBytes(folder.File("adapter_model.safetensors")).Should().Equal(before);
    }
}
