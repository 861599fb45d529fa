using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp.Transformers.Tests;

/// <summary>What quantization costs pretrained models: errors of the weights and the loss, against bitsandbytes.</summary>
public class QuantizationErrorTests
{
    /// <summary>The case states none for int8 rows, which the library rounds to float16 first as LLM.int8 does.</summary>
    private const double UnstatedTolerance = 1e-3;

    private static readonly Dictionary<string, QuantizationOptions> Variants = new()
    {
        ["nf4_b64"] = new() { DoubleQuantization = false },
        ["nf4_b64_dq"] = new(),
        ["fp4_b64"] = new() { Format = QuantizationFormat.Fp4, DoubleQuantization = false },
        ["nf4_b128"] = new() { BlockSize = 128, DoubleQuantization = false },
        ["int8_rowwise"] = new() { Format = QuantizationFormat.Int8Rows },
    };

    public static TheoryData<string, string> Cases()
    {
        TheoryData<string, string> data = [];
        foreach (string model in new[] { "model-stories260K", "model-story-llama" })
        {
            foreach (string variant in Variants.Keys.Prepend("dense"))
            {
                data.Add(model, variant);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Quantize_PretrainedModel_HasTheReferencesErrorsAndLosses(string name, string variant)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        GoldenCase golden = GoldenCase.Of("tensors.safetensors", "bnb", name);
        using LlamaForCausalLM model = LlamaForCausalLM.Load(SharedFolder.Require(golden.Json.GetProperty("model").GetString()!.Split('/')));
        model.eval();
        if (variant != "dense")
        {
            QuantizationReport report = model.Quantize(new() { Quantization = Variants[variant] });
            double tolerance = variant switch { "int8_rowwise" => UnstatedTolerance, "nf4_b64_dq" => 1e-4, _ => 1e-5 };
            JsonElement layers = golden.Json.GetProperty("rel_error_by_layer");
            report.Sites.Select(static site => site.Path).Should().BeEquivalentTo(layers.EnumerateObject().Select(static layer => layer.Name));
            foreach (QuantizedSite site in report.Sites)
            {
                double expected = layers.GetProperty(site.Path).GetProperty(variant).GetDouble();
                site.RelativeError.Should().BeApproximately(expected, tolerance * expected, site.Path);
            }

            report.RelativeError.Should().BeApproximately(golden.Json.GetProperty("total_rel_error").GetProperty(variant).GetDouble(), tolerance);
        }

        foreach (JsonProperty text in golden.Json.GetProperty("losses").GetProperty(variant).EnumerateObject())
        {
            Tensor ids = golden.Tensor($"token_ids.{text.Name}");
            CausalLanguageModel.Loss(model.call(ids), ids).item<float>().Should().BeApproximately(text.Value.GetSingle(), variant == "int8_rowwise" ? (float)UnstatedTolerance : 1e-4f, text.Name);
        }
    }
}
