using static TorchSharp.torch;

namespace DoraSharp.Tests.Docs;

/// <summary>The examples of the README behind the first, as they stand there; <see cref="ReadmeTests"/> compares the two.</summary>
public sealed class ReadmeExamples : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly string before = Environment.CurrentDirectory;
    private readonly nn.Module<Tensor, Tensor> model;
    private readonly Tensor input;

    public ReadmeExamples()
    {
        // The examples name folders in the current one.
        Environment.CurrentDirectory = folder.Path;
        manual_seed(1);
        model = nn.Sequential(nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 10));
        input = randn(64, 32);
    }

    public void Dispose()
    {
        Environment.CurrentDirectory = before;
        input.Dispose();
        model.Dispose();
        folder.Dispose();
    }

    [Fact]
    public void SeveralAdapters()
    {
        using var adapted = AdapterInjector.Inject(model, new LoraOptions { UseDora = true }, new InjectionOptions { AdapterName = "formal" });
        adapted.Add("brief", new LoraOptions { Rank = 4, TargetModules = ["0"] }); // waits until it is activated
        adapted.Activate("formal", "brief"); // both train, folded in this order
        using var together = model.call(input);

        using (adapted.Disable())
        {
            using var plain = model.call(input); // the base model's output
        }

        using (adapted.ForSamples("formal", "brief", "__base__"))
        {
            using var mixed = model.call(input[..3]); // an adapter for each sample of the batch
        }

        var sum = new AdapterCombination { Adapters = ["formal", "brief"], Weights = [0.7, 0.3], Type = CombinationType.Cat };
        adapted.Combine("both", sum); // one adapter with 0.7 and 0.3 of their changes, DoRA's magnitudes included
        adapted.ConvertToDora("brief"); // the output does not jump
        adapted.Delete("formal");

        adapted.AdapterNames.Should().Equal("brief", "both");
        adapted.ActiveAdapters.Should().Equal("brief");
        adapted.OptionsOf("both").Rank.Should().Be(12);
        adapted.OptionsOf("brief").UseDora.Should().BeTrue();
    }

    [Fact]
    public void OtherLayers()
    {
        using var ids = randint(0, 1000, [5, 20], ScalarType.Int64);
        var network = nn.Sequential(
            ("embed", nn.Embedding(1000, 64)), ("expand", new TransposedLinear(64, 128)), ("conv", nn.Conv1d(20, 20, 3, padding: 1)), ("head", nn.Linear(128, 10)));
        using var adapted = AdapterInjector.Inject(network, new LoraOptions
        {
            UseDora = true,
            Initialization = LoraInitialization.Pissa, // or Orthogonal, Olora, Eva, Corda, Loftq, LoraGa, ...
            TargetModules = ["expand", "conv"],
            TrainableTokens = [new TrainableTokens("embed", 7, 999)], // two rows of it
            ModulesToSave = ["head"],
            RankPattern = [KeyValuePair.Create("conv", 4)],
        });
        using var scores = network.call(ids);

        scores.shape.Should().Equal(5, 20, 10);
        adapted.Layers.Select(layer => layer.Value.Kind).Should().BeEquivalentTo([LayerKind.Embedding, LayerKind.TransposedLinear, LayerKind.Conv1d]);
        scores.sum().backward();
        adapted.TrainableParameters().Should().HaveCount(3 + 3 + 1 + 2);
        adapted.TrainableParameters().Select(parameter => parameter.grad).Should().NotContainNulls();
        network.Dispose();
    }

    [Fact]
    public void Vera()
    {
        using var adapted = AdapterInjector.InjectVera(model, new VeraOptions { Rank = 64 }); // DVoRA with UseDora
        Console.WriteLine(adapted.Report);

        adapted.TrainableParameters().Sum(parameter => parameter.numel()).Should().Be(128 + 64 + 10 + 64);
    }

    [Fact]
    public void FourBitWeights()
    {
        var report = model.Quantize(); // every Linear but an output head: NF4 with double quantization, 4.127 bits per parameter
        Console.WriteLine(report);
        using var adapted = AdapterInjector.Inject(model, new LoraOptions { UseDora = true }); // QDoRA; all else is as for dense weights
        using var output = model.call(input);
        var merged = adapted.Merge(); // dense for as long as it is merged; with requantize: true in 4 bits, at the error that it reports
        adapted.Unmerge(); // the same 4-bit codes, bit for bit

        report.Sites.Should().HaveCount(2);
        report.BitsPerParameter.Should().BeInRange(4.12, 4.2);
        merged.Layers.Should().OnlyContain(layer => !layer.IsQuantized);
        using Tensor again = model.call(input);
        Reference.SameBits(again, output).Should().BeTrue();
    }

    [Fact]
    public void PeftFolders()
    {
        using (AdaptedModel trained = AdapterInjector.Inject(model, new LoraOptions { Initialization = LoraInitialization.Random }))
        {
            trained.Save("adapter");
            trained.Save("other-adapter");
        }

        using var adapted = AdaptedModel.Load(model, "adapter"); // a folder that was written here or by PEFT in Python
        foreach (string name in adapted.Report.File!.Loaded)
        {
            Console.WriteLine(name); // which tensors went where; what is missing, unexpected or misshapen is an error
        }

        adapted.LoadAdapter("second", "other-adapter");
        adapted.Save("trained-further", new PeftMetadata { BaseModelNameOrPath = "my/model" });

        adapted.Report.File.Loaded.Should().BeEquivalentTo("0.lora_A.weight", "0.lora_B.weight", "2.lora_A.weight", "2.lora_B.weight");
        adapted.AdapterNames.Should().Equal("default", "second");
        using PeftFolder saved = PeftFolder.Read("trained-further");
        saved.Metadata.BaseModelNameOrPath.Should().Be("my/model");
    }

    [Fact]
    public void Merging()
    {
        using AdaptedModel adapted = AdapterInjector.Inject(model, new LoraOptions { Initialization = LoraInitialization.Random });
        using Tensor expected = model.call(input);

        adapted.Merge(); // folds the active adapters into the weights, all or none
        using var merged = model.call(input);
        adapted.Unmerge(); // the original weights, bit for bit
        adapted.MergeAndUnload(); // for good: plain TorchSharp modules

        using Tensor unloaded = model.call(input);
        Reference.MaxRelativeError(merged, expected).Should().BeLessThan(1e-5);
        Reference.MaxRelativeError(unloaded, expected).Should().BeLessThan(1e-5);
        model.modules().OfType<AdaptedLayer>().Should().BeEmpty();
    }

    [Fact]
    public void LessMemory()
    {
        using var adapted = AdapterInjector.Inject(model, new LoraOptions { UseDora = true, Dropout = 0.05 });
        using (GradientCheckpointing.Enable(model, ["0", "2"])) // of a Llama: @"model\.layers\.\d+"
        {
            // What these modules compute on their way is not kept, but computed again in the backward pass: the same gradients, bit for bit.
            model.call(input).sum().backward();
        }

        adapted.TrainableParameters().Select(parameter => parameter.grad).Should().NotContainNulls();
    }
}
