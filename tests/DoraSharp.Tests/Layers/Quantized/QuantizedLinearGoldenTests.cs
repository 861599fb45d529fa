using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Quantized;

/// <summary>Against bitsandbytes' Linear4bit.</summary>
public class QuantizedLinearGoldenTests
{
    public static TheoryData<string> Cases() =>
    [
        "nf4-dq-wbf16-cbf16-xbf16-48x64-b64", "nf4-dq-wbf16-cf32-xf32-24x128-b64", "nf4-dq-wf16-cf16-xf16-24x64-b64", "nf4-dq-wf32-cf32-xf32-16x128-b128",
        "nf4-dq-wf32-cf32-xf32-48x128-b64", "nf4-plain-wbf16-cbf16-xf32-33x64-b64", "nf4-plain-wf32-cf32-xf32-37x51-b64", "nf4-plain-wf32-cf32-xf32-40x64-b64",
        "fp4-dq-wbf16-cbf16-xbf16-24x64-b64", "fp4-dq-wf32-cf32-xf32-48x64-b64", "fp4-plain-wf16-cf16-xf16-24x64-b64", "fp4-plain-wf32-cf32-xf32-40x64-b64",
    ];

    [Theory]
    [MemberData(nameof(Cases))]
    public void ForwardAndBackward_StoredLayer_AreThoseOfExactArithmeticOnTheDecodedWeight(string name)
    {
        using var scope = NewDisposeScope();
        string folder = SharedFolder.Require("fixtures", "bnb", $"linear4bit-{name}");
        using JsonDocument description = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "case.json")));
        using SafetensorsCheckpoint state = SafetensorsCheckpoint.Open(Path.Combine(folder, "layer.safetensors"));
        using SafetensorsReader io = SafetensorsReader.Open(Path.Combine(folder, "tensors.safetensors"));
        ScalarType compute = description.RootElement.GetProperty("compute_dtype").GetString() switch { "f32" => ScalarType.Float32, "bf16" => ScalarType.BFloat16, _ => ScalarType.Float16 };
        bool hasBias = description.RootElement.GetProperty("bias").GetBoolean();
        using QuantizedLinear layer = new(BitsandbytesReader.Read(state, "weight"), hasBias ? io.Read("bias") : null, compute);
        Tensor x = io.Read("x").requires_grad_(true);

        Tensor y = layer.call(x);
        y.backward([io.Read("dy")]);

        y.dtype.Should().Be(x.dtype);
        x.grad!.dtype.Should().Be(x.dtype);
        double tolerance = compute switch { ScalarType.Float32 => 2e-6, ScalarType.Float16 => 2e-3, _ => 2e-2 };
        Reference.MaxRelativeError(y, io.Read("y_exact")).Should().BeLessThan(tolerance);
        Reference.MaxRelativeError(y, io.Read("y")).Should().BeLessThan(2 * tolerance);
        Reference.MaxRelativeError(x.grad!, io.Read("dx_exact")).Should().BeLessThan(tolerance);
        Reference.SameBits(layer.Dequantize().weight, io.Read("dequant_compute")).Should().BeTrue();
    }
}
