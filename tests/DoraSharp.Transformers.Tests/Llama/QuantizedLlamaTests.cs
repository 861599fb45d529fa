using System.Text.Json.Nodes;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Transformers.Tests;

/// <summary>Folders with a <c>quantization_config</c>, and models that are quantized as they are read.</summary>
public class QuantizedLlamaTests
{
    [Theory]
    [InlineData("llama-nf4-dq-f32", 1e-4)]
    [InlineData("llama-fp4-dq-f32", 1e-4)]
    [InlineData("llama-nf4-plain-f32", 1e-4)]
    [InlineData("llama-nf4-dq-bf16-storage-bf16", 0.1)]
    public void Load_QuantizedFolder_GivesItsLogitsAndDecodedWeights(string name, double tolerance)
    {
        using var scope = NewDisposeScope();
        var golden = GoldenCase.Of("io.safetensors", "bnb", name);
        using SafetensorsReader decoded = SafetensorsReader.Open(golden.Folder("dequantized.safetensors"));
        using var model = LlamaForCausalLM.Load(golden.Model);

        Largest(model.call(golden.Tensor("input_ids")) - golden.Tensor("logits")).Should().BeLessThanOrEqualTo(tolerance);
        (string Path, QuantizedLinear Layer)[] layers = Layers(model);
        layers.Select(static layer => layer.Path).Should().BeEquivalentTo(golden.Json.GetProperty("quantized_modules").EnumerateArray().Select(static path => path.GetString()));
        foreach ((string path, QuantizedLinear layer) in layers)
        {
            layer.Weight.Dequantize(ScalarType.Float32).eq(decoded.Read($"{path}.weight")).all().item<bool>().Should().BeTrue(path);
        }

        using var wide = LlamaForCausalLM.Load(golden.Model, ScalarType.Float32);
        Largest(wide.call(golden.Tensor("input_ids")) - golden.Tensor("logits_dequantized_fp32")).Should().BeLessThanOrEqualTo(1e-4);
    }

    [Theory]
    [InlineData("llama-nf4-dq-f32")]
    [InlineData("llama-fp4-dq-f32")]
    [InlineData("llama-nf4-plain-f32")]
    public void Save_LoadedQuantizedFolder_GivesTheSameFile(string name)
    {
        using TemporaryFolder folder = new();
        var golden = GoldenCase.Of("io.safetensors", "bnb", name);
        using var model = LlamaForCausalLM.Load(golden.Model);
        model.Save(folder.Path);

        File.ReadAllBytes(folder.File("model.safetensors")).Should().Equal(File.ReadAllBytes(Path.Combine(golden.Model, "model.safetensors")));
        JsonNode written = Config(folder.Path)["quantization_config"]!, expected = Config(golden.Model)["quantization_config"]!;
        expected["llm_int8_skip_modules"] = new JsonArray("lm_head");
        JsonNode.DeepEquals(written, expected).Should().BeTrue(written.ToJsonString());
    }

    [Theory]
    [InlineData(QuantizationFormat.Nf4, true)]
    [InlineData(QuantizationFormat.Fp4, false)]
    [InlineData(QuantizationFormat.Int8Rows, false)]
    public void Load_Quantizing_EqualsItsSavedAndLoadedSelf(QuantizationFormat format, bool doubled)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        string source = GoldenCase.Tiny("llama-bias").Model;
        QuantizationOptions options = new() { Format = format, DoubleQuantization = doubled };
        List<CheckpointProgress> progress = [];
        using var dense = LlamaForCausalLM.Load(source, ScalarType.Float32);
        using var model = LlamaForCausalLM.Load(source, ScalarType.Float32, quantization: new() { Quantization = options }, progress: new Recorder(progress));
        model.Save(folder.Path);
        using var again = LlamaForCausalLM.Load(folder.Path, ScalarType.Float32);

        Tensor ids = tensor(new long[,] { { 1, 5, 9, 3, 2, 7 } });
        Tensor logits = model.call(ids), exact = dense.call(ids);
        again.call(ids).eq(logits).all().item<bool>().Should().BeTrue();
        Layers(again).Select(static layer => layer.Layer.Weight.Options.Format).Should().OnlyContain(read => read == format).And.HaveCount(7 * model.Config.LayerCount);
        (Largest(logits - exact) / Largest(exact)).Should().BeInRange(1e-6, 0.6);
        progress.Count(static step => step.IsQuantized).Should().Be(7 * model.Config.LayerCount);
        progress[^1].Done.Should().Be(progress[^1].Total);
    }

    [Theory]
    [InlineData(true, "model.layers.1.mlp.down_proj", new[] { "model.layers.1.mlp.down_proj", "lm_head" })]
    [InlineData(true, null, new[] { "lm_head" })]
    [InlineData(false, null, new string[0])]
    public void Save_HeadTiedOrQuantized_TellsTransformersWhatIsDense(bool tied, string? excluded, string[] dense)
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        LlamaConfig config = LlamaConfig.Load(GoldenCase.Tiny("llama-bias").Model) with { TieWordEmbeddings = tied };
        using LlamaForCausalLM model = new(config);
        string[] layers = [.. model.named_modules().Where(entry => entry.module is Linear && entry.name != excluded).Select(static entry => entry.name)];
        model.Quantize(new() { TargetModules = TargetModules.Create(layers) });

        model.Save(folder.Path);

        Config(folder.Path)["quantization_config"]!["llm_int8_skip_modules"]!.AsArray().Select(static name => name!.GetValue<string>()).Should().Equal(dense);
        using var again = LlamaForCausalLM.Load(folder.Path);
        Tensor ids = tensor(new long[,] { { 1, 5, 9, 3, 2, 7 } });
        again.call(ids).eq(model.call(ids)).all().item<bool>().Should().BeTrue();
    }

    [Fact]
    public void Load_QuantizingSharded_EqualsQuantizingTheDenseModelsWeights()
    {
        using var scope = NewDisposeScope();
        string source = GoldenCase.Tiny("llama-sharded").Model;
        using var dense = LlamaForCausalLM.Load(source);
        using var model = LlamaForCausalLM.Load(source, quantization: new() { Quantization = new() { BlockSize = 32 } });
        Dictionary<string, Tensor> weights = dense.state_dict();

        foreach ((string path, QuantizedLinear layer) in Layers(model))
        {
            using QuantizedTensor expected = QuantizedTensor.Quantize(weights[$"{path}.weight"], new() { BlockSize = 32 });
            layer.Weight.Dequantize().eq(expected.Dequantize()).all().item<bool>().Should().BeTrue(path);
        }

        Layers(model).Should().HaveCount(7 * model.Config.LayerCount);
        model.named_modules().Select(static entry => entry.module).OfType<Linear>().Should().HaveCount(model.Config.TieWordEmbeddings ? 0 : 1);
        model.Generate([1, 4], new() { MaxNewTokens = 3 }).Should().HaveCountGreaterThan(2);
    }

    [Fact]
    public void Load_QuantizedFolderThatContradictsItself_IsRefusedByName()
    {
        var golden = GoldenCase.Of("io.safetensors", "bnb", "llama-nf4-dq-f32");
        Refused(config => config["quantization_config"]!["llm_int8_skip_modules"] = new JsonArray("layers.1.mlp"), _ => { }, "*skip_modules*model.layers.1.mlp.down_proj*");
        Refused(config => config["quantization_config"]!["llm_int8_skip_modules"] = new JsonArray(3), _ => { }, "*skip_modules*strings*");
        Refused(config => config["quantization_config"]!["load_in_8bit"] = true, _ => { }, "*load_in_4bit and load_in_8bit*");
        Refused(config => config["quantization_config"]!["bnb_4bit_quant_type"] = "fp4", _ => { }, "*4 bits, Fp4*bitsandbytes__nf4*");
        Refused(
            config =>
            {
                config["quantization_config"]!["load_in_4bit"] = false;
                config["quantization_config"]!["_load_in_4bit"] = false;
                config["quantization_config"]!["load_in_8bit"] = true;
            },
            _ => { },
            "*8 bits*bitsandbytes__nf4*");
        Refused(config => config["quantization_config"]!["bnb_4bit_quant_type"] = "int4", _ => { }, "*bnb_4bit_quant_type*int4*");
        Refused(config => config["quantization_config"]!["bnb_4bit_compute_dtype"] = "float8", _ => { }, "*compute_dtype*float8*");
        Refused(_ => { }, tensors => tensors.Remove("model.layers.0.mlp.up_proj.weight.absmax"), "*model.layers.0.mlp.up_proj*absmax*missing*");
        Refused(_ => { }, tensors => tensors.Remove("model.layers.0.mlp.up_proj.weight"), "*missing: model.layers.0.mlp.up_proj.weight*");
        Refused(_ => { }, tensors => tensors["model.layers.0.mlp.up_proj.weight.extra"] = ones(1), "*unexpected: model.layers.0.mlp.up_proj.weight.extra*");
        Refused(_ => { }, tensors => tensors.Where(static entry => entry.Key.StartsWith("model.layers.0.mlp.up_proj.weight.", StringComparison.Ordinal)).ToList().ForEach(entry => tensors.Remove(entry.Key)), "*misshapen: model.layers.0.mlp.up_proj.weight is [4096, 1] and not [128, 64]*");
        Refused(_ => { }, Swap("model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.down_proj.weight"), "*misshapen: *_proj.weight is [*");

        FluentActions.Invoking(() => LlamaForCausalLM.Load(golden.Model, quantization: new())).Should().Throw<ArgumentException>().WithMessage("*quantized weights already*");

        void Refused(Action<JsonNode> change, Action<Dictionary<string, Tensor>> spoil, string message)
        {
            using var scope = NewDisposeScope();
            using TemporaryFolder folder = new();
            JsonNode config = Config(golden.Model);
            change(config);
            folder.Write("config.json", config.ToJsonString());
            using SafetensorsReader reader = SafetensorsReader.Open(Path.Combine(golden.Model, "model.safetensors"));
            Dictionary<string, Tensor> tensors = reader.Entries.ToDictionary(static entry => entry.Name, entry => reader.Read(entry.Name));
            spoil(tensors);
            SafetensorsWriter.Write(folder.File("model.safetensors"), tensors);
            long before = LiveTensors.Count;
            FluentActions.Invoking(() => LlamaForCausalLM.Load(folder.Path)).Should().Throw<InvalidDataException>().WithMessage(message);
            LiveTensors.Count.Should().Be(before);
        }

        static Action<Dictionary<string, Tensor>> Swap(string one, string other) => tensors =>
        {
            foreach (string key in tensors.Keys.Where(key => key.StartsWith(one, StringComparison.Ordinal)).ToList())
            {
                string counterpart = other + key[one.Length..];
                (tensors[key], tensors[counterpart]) = (tensors[counterpart], tensors[key]);
            }
        };
    }

    private sealed class Recorder(List<CheckpointProgress> seen) : IProgress<CheckpointProgress>
    {
        public void Report(CheckpointProgress value) => seen.Add(value);
    }

    private static double Largest(Tensor difference) => difference.to(ScalarType.Float64).abs().max().item<double>();

    private static (string Path, QuantizedLinear Layer)[] Layers(LlamaForCausalLM model) =>
        [.. model.named_modules().Where(static entry => entry.module is QuantizedLinear).Select(static entry => (entry.name, (QuantizedLinear)entry.module))];

    private static JsonNode Config(string folder) => JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "config.json")))!;
}
