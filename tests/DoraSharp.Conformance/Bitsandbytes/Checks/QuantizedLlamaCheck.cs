using DoraSharp.Transformers;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>A Hugging Face folder with quantized weights: which modules are, what they decode to, the logits.</summary>
internal static class QuantizedLlamaCheck
{
    private static readonly Tolerance Float32 = new(0, 1e-4);
    private static readonly Tolerance BFloat16 = new(0, 0.1);

    public static void Run(BitsandbytesCase subject)
    {
        string folder = Path.Combine(subject.Folder, "model");
        TensorFile io = subject.File("io.safetensors"), decoded = subject.File("dequantized.safetensors");
        using LlamaForCausalLM model = LlamaForCausalLM.Load(folder);
        Dictionary<string, QuantizedLinear> layers = model.named_modules().Where(static entry => entry.module is QuantizedLinear).ToDictionary(static entry => entry.name, static entry => (QuantizedLinear)entry.module);
        string[] expected = [.. subject.Fields.GetProperty("quantized_modules").EnumerateArray().Select(static path => path.GetString()!)];
        subject.Expect.Require(layers.Keys.Order(StringComparer.Ordinal).SequenceEqual(expected.Order(StringComparer.Ordinal)), "quantized_modules", $"are {string.Join(", ", layers.Keys)}");
        foreach ((string path, QuantizedLinear layer) in layers)
        {
            subject.Decoded($"{path}.weight", layer.Weight.Dequantize(ScalarType.Float32), decoded.Read($"{path}.weight"));
        }

        using var noGrad = no_grad();
        Tensor ids = io.Read("input_ids"), logits = io.Read("logits");
        subject.Expect.Close("logits", model.call(ids), logits, logits.dtype == ScalarType.BFloat16 || layers.Values.Any(static layer => layer.ComputeType == ScalarType.BFloat16) ? BFloat16 : Float32);
        using LlamaForCausalLM wide = LlamaForCausalLM.Load(folder, ScalarType.Float32);
        subject.Expect.Close("logits_dequantized_fp32", wide.call(ids), io.Read("logits_dequantized_fp32"), Float32);
    }
}
