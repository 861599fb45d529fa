using System.Text.Json;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Quantization;

/// <summary>QLoRA and QDoRA against bitsandbytes with PEFT: y = fc2(tanh(fc1 x)) over stored 4-bit layers and a stored adapter.</summary>
public class QloraGoldenTests
{
    public static TheoryData<string> Cases() =>
        ["qlora-nf4-dq", "qlora-nf4-plain", "qlora-nf4-dq-bf16", "qlora-fp4-dq-rslora", "qdora-nf4-dq", "qdora-nf4-plain", "qdora-nf4-dq-bf16", "qdora-nf4-dq-rslora"];

    [Theory]
    [MemberData(nameof(Cases))]
    public void ForwardAndBackward_StoredAdapter_AreThoseOfPeft(string name)
    {
        using var scope = NewDisposeScope();
        using Case subject = new(name);
        using AdaptedModel adapted = AdaptedModel.Load(subject.Model, subject.Path("adapter"));
        Tensor x = subject.Io("x").requires_grad_(true);

        Tensor y = subject.Model.call(x);
        y.backward([subject.Io("dy")]);

        y.dtype.Should().Be(x.dtype);
        Reference.MaxRelativeError(y, subject.Io("y_exact")).Should().BeLessThan(subject.IsHalf ? 3e-2 : 1e-6);
        Reference.MaxRelativeError(y, subject.Io("y")).Should().BeLessThan(subject.Tolerance);
        Reference.MaxRelativeError(x.grad!, subject.Io("dx")).Should().BeLessThan(subject.Tolerance);
        foreach ((string path, AdapterStack stack) in adapted.Layers)
        {
            LoraAdapter adapter = (LoraAdapter)stack["default"];
            adapter.DType.Should().Be(ScalarType.Float32);
            Reference.MaxRelativeError(adapter.A.grad!, subject.Io($"grad.{path}.lora_A.weight")).Should().BeLessThan(subject.Tolerance, path);
            Reference.MaxRelativeError(adapter.B.grad!, subject.Io($"grad.{path}.lora_B.weight")).Should().BeLessThan(subject.Tolerance, path);
            if (adapter.Magnitude is { } magnitude)
            {
                Reference.MaxRelativeError(magnitude.grad!, subject.Io($"grad.{path}.lora_magnitude_vector")).Should().BeLessThan(subject.Tolerance, path);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Merge_DenseAndRequantized_AreExactAndAsNearAsPefts(string name)
    {
        using var scope = NewDisposeScope();
        using Case subject = new(name);
        using AdaptedModel adapted = AdaptedModel.Load(subject.Model, subject.Path("adapter"));
        Dictionary<string, Tensor> before = subject.Model.state_dict().ToDictionary(entry => entry.Key, entry => entry.Value.detach().clone());
        Tensor y = subject.Model.call(subject.Io("x"));

        MergeReport dense = adapted.Merge();
        foreach (MergedLayer layer in dense.Layers)
        {
            layer.IsQuantized.Should().BeFalse();
            layer.RelativeError.Should().BeLessThan(subject.IsHalf ? 4e-3 : 1e-7);
            Reference.RelativeError(adapted.Layers.Single(entry => entry.Key == layer.Path).Value.Weight.Dense(), subject.Merged($"{layer.Path}.merged_exact_f32")).Should().BeLessThan(subject.IsHalf ? 4e-3 : 1e-6);
        }

        Reference.MaxRelativeError(subject.Model.call(subject.Io("x")), y).Should().BeLessThan(subject.IsHalf ? 3e-2 : 1e-5);
        for (int cycle = 0; cycle < 10; cycle++)
        {
            adapted.Unmerge();
            foreach ((string key, Tensor value) in before)
            {
                Reference.SameBits(subject.Model.state_dict()[key], value).Should().BeTrue(key);
            }

            Reference.SameBits(subject.Model.call(subject.Io("x")), y).Should().BeTrue();
            MergeReport quantized = adapted.Merge(requantize: cycle % 2 == 0);
            quantized.Layers.Should().OnlyContain(layer => layer.IsQuantized == (cycle % 2 == 0));
            if (cycle == 0)
            {
                foreach (MergedLayer layer in quantized.Layers)
                {
                    subject.CompareRequantized(layer, ((QuantizedWeight)adapted.Layers.Single(entry => entry.Key == layer.Path).Value.Weight).Dense());
                }
            }
        }
    }

    [Fact]
    public void Inject_FreshDoraOverBFloat16_StartsAtTheTrueNormAndChangesNothing()
    {
        using var scope = NewDisposeScope();
        using Case subject = new("qdora-nf4-dq-bf16");
        Tensor before = subject.Model.call(subject.Io("x"));
        using AdaptedModel adapted = AdapterInjector.Inject(subject.Model, new() { Rank = 4, UseDora = true, TargetModules = ["fc1", "fc2"] });
        Reference.SameBits(subject.Model.call(subject.Io("x")), before).Should().BeTrue();
        foreach ((string path, AdapterStack stack) in adapted.Layers)
        {
            Tensor norm = linalg.vector_norm(subject.Merged($"{path}.dequantized_base_f32").to(ScalarType.Float64), ord: 2, dims: [1]);
            Reference.MaxRelativeError(((LoraAdapter)stack["default"]).Magnitude!, norm).Should().BeLessThan(1e-6);

            // PEFT takes it of the bfloat16 weight.
            Reference.MaxRelativeError(((LoraAdapter)stack["default"]).Magnitude!, subject.Io($"initial.{path}.lora_magnitude_vector")).Should().BeLessThan(6e-3);
        }
    }

    private sealed class Case : IDisposable
    {
        private readonly string folder;
        private readonly SafetensorsReader io;
        private readonly JsonDocument description;
        private readonly QuantizationOptions options;

        public Case(string name)
        {
            folder = SharedFolder.Require("fixtures", "bnb", name);
            io = SafetensorsReader.Open(Path("io.safetensors"));
            description = JsonDocument.Parse(File.ReadAllText(Path("case.json")));
            using SafetensorsCheckpoint state = SafetensorsCheckpoint.Open(Path("base.safetensors"));
            IsHalf = description.RootElement.GetProperty("compute_dtype").GetString() == "bf16";
            ScalarType compute = IsHalf ? ScalarType.BFloat16 : ScalarType.Float32;
            using Tensor bias = state.Read("fc1.bias");
            Model = nn.Sequential(
                ("fc1", new QuantizedLinear(BitsandbytesReader.Read(state, "fc1.weight"), bias, compute)),
                ("act", nn.Tanh()),
                ("fc2", new QuantizedLinear(BitsandbytesReader.Read(state, "fc2.weight"), null, compute)));
            options = ((QuantizedLinear)Model[0]).Weight.Options;
        }

        public Sequential Model { get; }

        public bool IsHalf { get; }

        /// <summary>The case's own: relative, of the largest element.</summary>
        public double Tolerance => IsHalf ? 3e-2 : 1e-4;

        public string Path(string name) => System.IO.Path.Combine(folder, name);

        public Tensor Io(string key) => io.Read(key);

        public Tensor Merged(string key)
        {
            using SafetensorsReader merged = SafetensorsReader.Open(Path("merged.safetensors"));
            return merged.Read(key);
        }

        public void CompareRequantized(MergedLayer layer, Tensor stored)
        {
            Tensor exact = Merged($"{layer.Path}.merged_exact_f32");
            double theirs = Reference.RelativeError(Merged($"{layer.Path}.peft_merged_dequant_f32"), exact);
            double stated = description.RootElement.GetProperty("merge").GetProperty(layer.Path).GetProperty("merge_rel_error").GetDouble();
            stated.Should().BeApproximately(theirs, 1e-4 * theirs);
            layer.RelativeError.Should().BeApproximately(stated, 0.01 * stated);
            Reference.RelativeError(stored, exact).Should().BeApproximately(layer.RelativeError, IsHalf ? 4e-3 : 1e-5);
            (stored.to(ScalarType.Float32) - exact).abs().max().item<float>().Should().BeApproximately((float)layer.MaxError, IsHalf ? 1e-2f : 1e-5f);
            using QuantizedTensor mine = QuantizedTensor.Quantize(exact, options);
            double differing = mine.Codes.ne(Merged($"{layer.Path}.peft_merged_packed")).to(ScalarType.Float64).mean().item<double>();
            differing.Should().BeLessThan(IsHalf ? 0.05 : 0.002);
        }

        public void Dispose()
        {
            Model.Dispose();
            io.Dispose();
            description.Dispose();
        }
    }
}
