using System.Text.Json;
using DoraSharp.Transformers;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>Real models, quantized as they are read: the error of each weight and the loss on two texts.</summary>
internal static class ModelErrorCheck
{
    private static readonly Dictionary<string, QuantizationOptions?> Variants = new()
    {
        ["dense"] = null,
        ["nf4_b64"] = new() { DoubleQuantization = false },
        ["nf4_b64_dq"] = new(),
        ["fp4_b64"] = new() { Format = QuantizationFormat.Fp4, DoubleQuantization = false },
        ["nf4_b128"] = new() { BlockSize = 128, DoubleQuantization = false },
        ["int8_rowwise"] = new() { Format = QuantizationFormat.Int8Rows },
    };

    public static void Run(BitsandbytesCase subject)
    {
        string folder = FixtureFolder.Resolve(subject.Folder, "shared/" + BitsandbytesCase.Text(subject.Fields, "model"));
        using LlamaForCausalLM dense = LlamaForCausalLM.Load(folder);
        foreach (JsonProperty variant in subject.Fields.GetProperty("losses").EnumerateObject())
        {
            using var scope = NewDisposeScope();
            QuantizationOptions? options = Variants[variant.Name];
            using LlamaForCausalLM model = LlamaForCausalLM.Load(folder, quantization: options is null ? null : new() { Quantization = options });
            foreach (JsonProperty text in variant.Value.EnumerateObject())
            {
                double loss = Loss(model, subject.Tensors.Read($"token_ids.{text.Name}"));
                subject.Expect.Require(Math.Abs(loss - text.Value.GetDouble()) <= (IsRows(variant.Name) ? 1e-3 : 1e-4), $"losses.{variant.Name}.{text.Name}", $"is {loss:0.000000}, expected {text.Value.GetDouble():0.000000}");
            }

            if (options is not null)
            {
                CheckErrors(subject, variant.Name, dense, model);
            }
        }
    }

    private static void CheckErrors(BitsandbytesCase subject, string variant, LlamaForCausalLM dense, LlamaForCausalLM model)
    {
        Dictionary<string, nn.Module> originals = dense.named_modules().ToDictionary(static entry => entry.name, static entry => entry.module);
        JsonElement expected = subject.Fields.GetProperty("rel_error_by_layer");
        double lost = 0, all = 0;
        int seen = 0;
        foreach ((string path, nn.Module module) in model.named_modules().Where(static entry => entry.module is QuantizedLinear))
        {
            using var scope = NewDisposeScope();
            Tensor weight = ((Linear)originals[path]).weight.to(ScalarType.Float64);
            double difference = (((QuantizedLinear)module).Weight.Dequantize(ScalarType.Float32).to(ScalarType.Float64) - weight).square().sum().item<double>();
            double norm = weight.square().sum().item<double>();
            Near(subject, variant, path, Math.Sqrt(difference / norm), expected.GetProperty(path).GetProperty(variant).GetDouble());
            (lost, all, seen) = (lost + difference, all + norm, seen + 1);
        }

        subject.Expect.Require(seen == expected.EnumerateObject().Count(), variant, $"has {seen} quantized layers");
        Near(subject, variant, "total_rel_error", Math.Sqrt(lost / all), subject.Fields.GetProperty("total_rel_error").GetProperty(variant).GetDouble());
    }

    private static void Near(BitsandbytesCase subject, string variant, string name, double actual, double expected) => subject.Expect.Require(
        Math.Abs(actual - expected) <= OfError(variant) * expected,
        $"{variant}: {name}",
        $"is {actual:0.0000000}, expected {expected:0.0000000}");

    // The offset of double quantization is a mean, whose last bits depend on the order of summation. And these cases' int8 rows
    // divide by SCB/127, where Linear8bitLt multiplies by 127/SCB: numbers halfway between two codes go the other way.
    private static double OfError(string variant) => IsRows(variant) ? 1e-3 : Variants[variant]!.DoubleQuantization ? 1e-4 : 1e-5;

    private static bool IsRows(string variant) => Variants[variant]?.Format == QuantizationFormat.Int8Rows;

    private static double Loss(LlamaForCausalLM model, Tensor ids)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        return CausalLanguageModel.Loss(model.call(ids), ids).item<float>();
    }
}
