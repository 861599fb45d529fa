using static TorchSharp.torch;

namespace DoraSharp.Tests.Caches;

/// <summary>What is done with an adapter alone costs what the adapter's size says, not the model's.</summary>
public class AdapterSizeTests
{
    private const long Width = 4096;

    // W has 64 MB, the adapter 2 · 4096 · 4 numbers and a magnitude: 147 KB.
    private const long BaseBytes = Width * Width * sizeof(float);
    private const long AdapterBytes = ((2 * 4 * Width) + Width) * sizeof(float);
    private static readonly LoraOptions Options = new() { Rank = 4, UseDora = true, TargetModules = ["0"] };

    [Fact]
    public void OptimizerSteps_TouchTheAdapterOnly()
    {
        using var scope = NewDisposeScope();
        using var model = nn.Sequential(nn.Linear(Width, Width, hasBias: false));
        using AdaptedModel adapted = AdapterInjector.Inject(model, Options);
        adapted.TrainableParameters().Sum(parameter => parameter.numel() * sizeof(float)).Should().Be(AdapterBytes);
        Tensor weight = adapted.Layers[0].Value.Weight.Stored;
        long version = TensorVersions.Of(weight);
        model.call(randn(1, Width)).sum().backward();
        weight.grad.Should().BeNull();
        using var optimizer = optim.AdamW(adapted.TrainableParameters(), lr: .1);

        long peak = PeakMemory.Of(() =>
        {
            optimizer.step();
            optimizer.zero_grad();
        });

        peak.Should().BeLessThan(BaseBytes / 16, "two moments of the adapter's size are made, and temporaries");
        TensorVersions.Of(weight).Should().Be(version, "W was not written");
    }

    [Fact]
    public void SaveAndLoad_ReadWriteAndAllocateTheAdapterOnly()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using var model = nn.Sequential(nn.Linear(Width, Width, hasBias: false));
        using AdaptedModel adapted = AdapterInjector.Inject(model, Options);
        Tensor weight = adapted.Layers[0].Value.Weight.Stored;
        nint memory = TensorMemory.Address(weight);
        long version = TensorVersions.Of(weight);
        long save = PeakMemory.Of(() => adapted.Save(folder.Path));
        long load = PeakMemory.Of(() => adapted.Load(folder.Path));
        long managed = GC.GetAllocatedBytesForCurrentThread();
        adapted.Save(folder.Path);
        adapted.Load(folder.Path);
        managed = GC.GetAllocatedBytesForCurrentThread() - managed;

        Directory.GetFiles(folder.Path).Sum(file => new FileInfo(file).Length).Should().BeLessThan(AdapterBytes + 8192);
        save.Should().BeLessThan(BaseBytes / 16);
        load.Should().BeLessThan(BaseBytes / 16);
        managed.Should().BeLessThan(BaseBytes / 16);
        TensorVersions.Of(weight).Should().Be(version);
        TensorMemory.Address(weight).Should().Be(memory);
    }

    [Fact]
    public void AdaptingAndLoadingIntoAModel_KeepsOnlyTheAdapterInMemory()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using var model = nn.Sequential(nn.Linear(Width, Width, hasBias: false));
        using (AdaptedModel trained = AdapterInjector.Inject(model, Options))
        {
            trained.Save(folder.Path);
        }

        long before = NativeHeap.BytesInUse();
        AdaptedModel? adapted = null;
        long peak = PeakMemory.Of(() => adapted = AdaptedModel.Load(model, folder.Path));
        using AdaptedModel loaded = adapted!;

        // A fresh DoRA adapter needs W's norms, which are read by blocks of rows.
        peak.Should().BeLessThan(BaseBytes / 4);
        (NativeHeap.BytesInUse() - before).Should().BeLessThan(BaseBytes / 16);
    }
}
