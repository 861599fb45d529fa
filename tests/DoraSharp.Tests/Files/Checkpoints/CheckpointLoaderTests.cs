using System.Globalization;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Files.Checkpoints;

public sealed class CheckpointLoaderTests : IDisposable
{
    private const long Width = 96;
    private const int Depth = 3;

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Load_Dense_EqualsTheModelThatWasSaved(bool meta)
    {
        using var scope = NewDisposeScope();
        using CheckpointNet saved = Save();
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(folder.Path);
        using CheckpointNet loaded = CheckpointLoader.Load(() => new CheckpointNet(Width, Depth, meta ? META : null), checkpoint);

        loaded.state_dict().Keys.Should().Equal(saved.state_dict().Keys);
        foreach ((string name, Tensor value) in loaded.state_dict())
        {
            Reference.SameBits(value, saved.state_dict()[name]).Should().BeTrue(name);
        }

        loaded.parameters().Should().OnlyContain(parameter => parameter.requires_grad);
        Reference.SameBits(loaded.call(Input), saved.call(Input)).Should().BeTrue();
        loaded.call(Input).sum().backward();
        loaded.parameters().All(static parameter => parameter.grad is not null).Should().BeTrue();
        using var twice = loaded.to(ScalarType.Float64);
        twice.call(Input).dtype.Should().Be(ScalarType.Float64);
    }

    [Theory]
    [InlineData(true, false)]
    [InlineData(false, false)]
    [InlineData(true, true)]
    public void Load_Quantizing_EqualsQuantizingEachLayerOfTheDenseModel(bool meta, bool sharded)
    {
        using var scope = NewDisposeScope();
        using CheckpointNet saved = Save(sharded);
        QuantizationOptions quantization = new() { BlockSize = 32 };
        List<CheckpointProgress> progress = [];
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(folder.Path);
        using CheckpointNet loaded = CheckpointLoader.Load(
            () => new CheckpointNet(Width, Depth, meta ? META : null), checkpoint, new() { Quantization = new() { Quantization = quantization }, Progress = new Recorder(progress) });

        for (int i = 0; i < Depth; i++)
        {
            Linear dense = (Linear)saved.Layers[i];
            QuantizedLinear layer = loaded.Layers[i].Should().BeOfType<QuantizedLinear>().Subject;
            using QuantizedTensor expected = QuantizedTensor.Quantize(dense.weight, quantization);
            Reference.SameBits(layer.Weight.Dequantize(), expected.Dequantize()).Should().BeTrue();
            Reference.SameBits(layer.Bias!, dense.bias!).Should().BeTrue();
        }

        loaded.named_modules().Single(entry => entry.name == "lm_head").module.Should().BeOfType<Linear>("the output layer stays dense");
        Reference.RelativeError(loaded.call(Input), saved.call(Input)).Should().BeInRange(1e-4, 0.5);
        progress.Select(step => step.Done).Should().Equal(Enumerable.Range(1, progress.Count));
        progress.Should().OnlyContain(step => step.Total == progress.Count && step.IsQuantized == step.Name.StartsWith("layers.", StringComparison.Ordinal));
        progress.Where(step => step.IsQuantized).Select(step => step.Name).Should().Equal("layers.0.weight", "layers.1.weight", "layers.2.weight");
    }

    [Fact]
    public void Load_ModulesKeptDense_AreDense()
    {
        using var scope = NewDisposeScope();
        using CheckpointNet saved = Save();
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(folder.Path);
        using CheckpointNet loaded = CheckpointLoader.Load(
            () => new CheckpointNet(Width, Depth, META), checkpoint, new() { Quantization = new() { ExcludeModules = TargetModules.Create("layers.1"), ComputeType = ScalarType.BFloat16 } });

        loaded.Layers.Select(static layer => layer is QuantizedLinear).Should().Equal(true, false, true);
        ((QuantizedLinear)loaded.Layers[0]).ComputeType.Should().Be(ScalarType.BFloat16);
    }

    [Fact]
    public void Load_WeightsThatAreQuantizedInTheFile_BecomeLayersAsTheyAre()
    {
        using var scope = NewDisposeScope();
        using CheckpointNet saved = Save();
        Dictionary<string, Tensor> tensors = saved.state_dict();
        using QuantizedTensor quantized = QuantizedTensor.Quantize(((Linear)saved.Layers[1]).weight, new() { Format = QuantizationFormat.Fp4 });
        tensors.Remove("layers.1.weight");
        foreach ((string name, Tensor value) in BitsandbytesWriter.ToTensors(quantized, "layers.1.weight"))
        {
            tensors.Add(name, value);
        }

        SafetensorsWriter.Write(folder.File("model.safetensors"), tensors);
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(folder.Path);
        using CheckpointNet loaded = CheckpointLoader.Load(() => new CheckpointNet(Width, Depth, META), checkpoint);

        loaded.Layers.Select(static layer => layer is QuantizedLinear).Should().Equal(false, true, false);
        Reference.SameBits(((QuantizedLinear)loaded.Layers[1]).Weight.Dequantize(), quantized.Dequantize()).Should().BeTrue();
    }

    [Theory]
    [InlineData(true, "left")]
    [InlineData(false, "left")]
    [InlineData(true, "right")]
    [InlineData(false, "right")]
    public void Load_OneOfTwoLayersThatShareAWeight_LeavesTheOtherItsOwn(bool meta, string name)
    {
        using var scope = NewDisposeScope();
        using TiedNet saved = new(null);
        SafetensorsWriter.Write(folder.File("model.safetensors"), saved.state_dict());
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(folder.Path);

        using TiedNet loaded = CheckpointLoader.Load(() => new TiedNet(meta ? META : null), checkpoint, new() { Quantization = new() { TargetModules = [name] } });

        saved.Quantize(new() { TargetModules = [name] });
        Tensor x = randint(0, 24, [5, 7], ScalarType.Int64);
        Reference.SameBits(loaded.call(x), saved.call(x)).Should().BeTrue();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Load_EmbeddingThatIsNamed_BecomesAQuantizedOne(bool meta)
    {
        using var scope = NewDisposeScope();
        using TiedNet saved = new(null);
        SafetensorsWriter.Write(folder.File("model.safetensors"), saved.state_dict());
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(folder.Path);

        using TiedNet loaded = CheckpointLoader.Load(() => new TiedNet(meta ? META : null), checkpoint, new() { Quantization = new() { TargetModules = ["tokens"] } });

        loaded.named_modules().Single(static entry => entry.name == "tokens").module.Should().BeOfType<QuantizedEmbedding>();
        saved.Quantize(new() { TargetModules = ["tokens"] });
        Tensor x = randint(0, 24, [5, 7], ScalarType.Int64);
        Reference.SameBits(loaded.call(x), saved.call(x)).Should().BeTrue();
    }

    [Theory]
    [InlineData(ScalarType.BFloat16, ScalarType.Float32)]
    [InlineData(ScalarType.Float32, ScalarType.BFloat16)]
    [InlineData(ScalarType.Float32, ScalarType.Float16)]
    public void Load_QuantizingIntoAnotherDType_EqualsLoadingAndQuantizing(ScalarType inFile, ScalarType inModel)
    {
        using var scope = NewDisposeScope();
        using CheckpointNet saved = new(Width, Depth, null);
        SafetensorsWriter.Write(folder.File("model.safetensors"), saved.state_dict().ToDictionary(static entry => entry.Key, entry => entry.Value.to(inFile)));
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(folder.Path);
        using CheckpointNet expected = CheckpointLoader.Load(Create, checkpoint);
        expected.Quantize();

        using CheckpointNet loaded = CheckpointLoader.Load(Create, checkpoint, new() { Quantization = new() });

        foreach ((QuantizedLinear layer, QuantizedLinear other) in loaded.Layers.Cast<QuantizedLinear>().Zip(expected.Layers.Cast<QuantizedLinear>()))
        {
            layer.Weight.DType.Should().Be(inModel);
            Reference.SameBits(layer.Weight.Codes, other.Weight.Codes).Should().BeTrue();
            layer.Bias!.requires_grad.Should().Be(other.Bias!.requires_grad);
            Reference.SameBits(Gradient(layer), Gradient(other)).Should().BeTrue();
        }

        CheckpointNet Create()
        {
            CheckpointNet net = new(Width, Depth, null);
            net.to(inModel);
            return net;
        }

        Tensor Gradient(QuantizedLinear layer)
        {
            Tensor x = ones(3, Width, dtype: inModel, requires_grad: true);
            layer.call(x).sum().backward();
            return x.grad!;
        }
    }

    [Fact]
    public void Load_WhatDoesNotFit_IsRefusedAndLeavesNothing()
    {
        using var scope = NewDisposeScope();
        using CheckpointNet saved = Save();
        string path = folder.File("model.safetensors");

        // The levels become tensors when they are used first, and stay.
        QuantizedTensor.Quantize(ones(3, 5)).Dispose();
        Refused<InvalidDataException>(new() { Quantization = new() }, tensors => tensors.Remove("layers.0.weight"), $"*{path}*missing: layers.0.weight*");
        Refused<InvalidDataException>(new(), tensors => tensors.Remove("scale"), "*missing: scale*");
        Refused<InvalidDataException>(new(), tensors => tensors["more"] = ones(2), "*unexpected: more*");
        Refused<InvalidDataException>(new() { Quantization = new() }, tensors => tensors["layers.2.weight"] = ones(Width, 5), "*misshapen: layers.2.weight is [96, 5] and not [96, 96]*");
        Refused<ArgumentException>(new() { Quantization = new() }, tensors => tensors["layers.2.weight"][3, 4] = float.NaN, "*layers.2.weight*NaN*ExcludeModules*");
        Refused<InvalidDataException>(
            new(),
            static tensors =>
            {
                using QuantizedTensor quantized = QuantizedTensor.Quantize(tensors["tokens.weight"]);
                foreach ((string name, Tensor value) in BitsandbytesWriter.ToTensors(quantized, "tokens.weight"))
                {
                    tensors[name] = value;
                }
            },
            "*tokens.weight*quantized*Embedding*only linear layers*");
        Refused<InvalidOperationException>(new() { Quantization = new() }, static _ => { }, "*CheckpointNet.closed*declared as Linear*ExcludeModules*", closes: true);

        void Refused<T>(CheckpointOptions options, Action<Dictionary<string, Tensor>> spoil, string message, bool closes = false)
            where T : Exception
        {
            using var inner = NewDisposeScope();
            using CheckpointNet fresh = new(Width, Depth, null, closes);
            Dictionary<string, Tensor> tensors = fresh.state_dict().ToDictionary(static entry => entry.Key, static entry => entry.Value.detach().clone());
            spoil(tensors);
            SafetensorsWriter.Write(path, tensors);
            using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(path);
            long before = LiveTensors.Count;
            new CheckpointNet(Width, Depth, META, closes).Dispose();
            long ofTorchSharp = LiveTensors.Count - before;
            FluentActions.Invoking(() => CheckpointLoader.Load(() => new CheckpointNet(Width, Depth, META, closes), checkpoint, options))
                .Should().Throw<T>().WithMessage(message);
            LiveTensors.Count.Should().Be(before + (2 * ofTorchSharp), "an embedding that is moved leaves a tensor object to the garbage collector");
        }
    }

    [Theory]
    [InlineData(ScalarType.Float32, ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16, ScalarType.Float32)]
    [InlineData(ScalarType.Float32, ScalarType.BFloat16)]
    public void Load_LargeModel_NeverHoldsMoreThanTheQuantizedModelAndTwoLayers(ScalarType inFile, ScalarType inModel)
    {
        if (!OperatingSystem.IsLinux())
        {
            Assert.Skip("the peak of a process's memory is read from Linux's /proc");
        }

        const long width = 2048;
        const int depth = 12;
        const long layer = width * width * sizeof(float);
        using var scope = NewDisposeScope();
        string path = folder.File("model.safetensors");
        using (NewDisposeScope())
        {
            Tensor weight = randn(width, width, generator: new Generator(3)).to(inFile);
            Dictionary<string, Tensor> tensors = new()
            {
                ["tokens.weight"] = ones(11, width),
                ["norm.weight"] = ones(width),
                ["norm.bias"] = ones(width),
                ["scale"] = ones(1),
                ["lm_head.weight"] = ones(7, width),
                ["lm_head.bias"] = ones(7),
            };
            for (int i = 0; i < depth; i++)
            {
                tensors[$"layers.{i}.weight"] = weight;
                tensors[$"layers.{i}.bias"] = ones(width);
            }

            SafetensorsWriter.Write(path, tensors);
        }

        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(path);
        CheckpointOptions options = new() { Quantization = new() };

        // Once before, so that nothing is compiled and no pool grows in the measured one.
        CheckpointLoader.Load(Create, checkpoint, options).Dispose();
        GC.Collect();
        GC.WaitForPendingFinalizers();
        File.WriteAllText("/proc/self/clear_refs", "5");
        long before = Status("VmRSS");
        using CheckpointNet loaded = CheckpointLoader.Load(Create, checkpoint, options);
        long peak = Status("VmHWM") - before;

        long quantized = loaded.Layers.Sum(static layer => ((QuantizedLinear)layer).Weight.Bytes);
        quantized.Should().BeLessThan(depth * layer / 7);
        peak.Should().BeLessThanOrEqualTo(quantized + (2 * layer));

        CheckpointNet Create() => (CheckpointNet)new CheckpointNet(width, depth, META).to(inModel);

        static long Status(string name) => 1024 * long.Parse(
            File.ReadLines("/proc/self/status").Single(line => line.StartsWith($"{name}:", StringComparison.Ordinal)).Split(':')[1].Replace("kB", "", StringComparison.Ordinal).Trim(),
            CultureInfo.InvariantCulture);
    }

    private sealed class Recorder(List<CheckpointProgress> seen) : IProgress<CheckpointProgress>
    {
        public void Report(CheckpointProgress value) => seen.Add(value);
    }

    private static Tensor Input => tensor(new long[,] { { 1, 2, 3, 10 }, { 0, 5, 6, 7 } });

    private CheckpointNet Save(bool sharded = false)
    {
        CheckpointNet net = new(Width, Depth, null);
        Dictionary<string, Tensor> state = net.state_dict();
        if (!sharded)
        {
            SafetensorsWriter.Write(folder.File("model.safetensors"), state);
            return net;
        }

        string[] shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        IGrouping<int, KeyValuePair<string, Tensor>>[] parts = [.. state.Select((entry, index) => (entry, index)).GroupBy(item => item.index % 2, item => item.entry)];
        foreach (IGrouping<int, KeyValuePair<string, Tensor>> part in parts)
        {
            SafetensorsWriter.Write(folder.File(shards[part.Key]), part);
        }

        folder.Write("model.safetensors.index.json", $"{{\"metadata\": {{}}, \"weight_map\": {{{string.Join(", ", parts.SelectMany(part => part.Select(entry => $"\"{entry.Key}\": \"{shards[part.Key]}\"")))}}}}}");
        return net;
    }
}
