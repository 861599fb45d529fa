using System.Text.Json;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Transformers.Tests;

/// <summary>Random models of every kind that is supported, against what transformers computed.</summary>
public class TinyLlamaTests
{
    public static TheoryData<string> All =>
    [
        "llama-gqa", "llama-bias", "llama-tied-head-dim", "llama-sharded", "llama-bf16", "llama-fp16",
        "llama-rope-linear", "llama-rope-dynamic", "llama-rope-llama3", "llama-rope-yarn", "llama-rope-yarn-options",
    ];

    public static TheoryData<string> WithRuns =>
        ["llama-gqa", "llama-bias", "llama-tied-head-dim", "llama-rope-linear", "llama-rope-llama3", "llama-rope-yarn", "llama-rope-yarn-options"];

    [Theory]
    [MemberData(nameof(All))]
    public void Forward_LoadedModel_GivesTheGoldenLogits(string name)
    {
        using var scope = NewDisposeScope();
        var golden = GoldenCase.Tiny(name);
        using var model = LlamaForCausalLM.Load(golden.Model, ScalarType.Float32);

        Tensor logits = model.call(golden.Tensor("plain.input_ids"));

        golden.Excess(logits, golden.Tensor("plain.logits")).Should().BeNegative();
    }

    [Theory]
    [MemberData(nameof(All))]
    public void Load_ConfigOfTransformers4_SaysTheSameAsThatOfTransformers5(string name)
    {
        var golden = GoldenCase.Tiny(name);

        LlamaConfig.Load(golden.Folder("config_v4.json")).Should().BeEquivalentTo(LlamaConfig.Load(golden.Model), options => options.RespectingRuntimeTypes());
    }

    [Theory]
    [InlineData("llama-bf16", ScalarType.BFloat16, "plain.logits_computed_in_bf16")]
    [InlineData("llama-fp16", ScalarType.Float16, "plain.logits_computed_in_fp16")]
    public void Load_HalfPrecisionFile_KeepsItsDTypeAndComputesInIt(string name, ScalarType dtype, string expected)
    {
        using var scope = NewDisposeScope();
        var golden = GoldenCase.Tiny(name);
        using var model = LlamaForCausalLM.Load(golden.Model);

        Tensor logits = model.call(golden.Tensor("plain.input_ids"));

        model.parameters().Should().OnlyContain(parameter => parameter.dtype == dtype);
        logits.dtype.Should().Be(dtype);
        GoldenCase.Excess(logits, golden.Tensor(expected), golden.Json.GetProperty("low_precision_tolerance")).Should().BeNegative();
    }

    [Fact]
    public void Forward_DynamicRopeAfterALongerText_IsThatOfAFreshModel()
    {
        using var scope = NewDisposeScope();
        var golden = GoldenCase.Tiny("llama-rope-dynamic");
        using var model = LlamaForCausalLM.Load(golden.Model);
        model.call(golden.Tensor("plain.input_ids"));

        golden.Excess(model.call(golden.Tensor("history.input_ids")), golden.Tensor("history.logits_fresh_model")).Should().BeNegative();
        golden.Excess(model.call(golden.Tensor("short.input_ids")), golden.Tensor("short.logits")).Should().BeNegative();
    }

    [Theory]
    [MemberData(nameof(All))]
    public void NextLogits_TokenByTokenWithACache_GivesTheGoldenLogits(string name)
    {
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        var golden = GoldenCase.Tiny(name);
        using var model = LlamaForCausalLM.Load(golden.Model, ScalarType.Float32);
        Tensor ids = golden.Tensor("plain.input_ids");
        Tensor expected = golden.Tensor(name == "llama-rope-dynamic" ? "incremental.logits" : "plain.logits");
        long prefill = golden.Json.TryGetProperty("incremental", out JsonElement incremental) ? incremental.GetProperty("prefill").GetInt64() : 3, tokens = ids.shape[1];
        using var cache = new KeyValueCache(model.Config.LayerCount, tokens);

        List<Tensor> steps = [model.NextLogits(ids.narrow(1, 0, prefill), cache)];
        for (long position = prefill; position < tokens; position++)
        {
            steps.Add(model.NextLogits(ids.narrow(1, position, 1), cache));
        }

        golden.Excess(cat(steps, dim: 1), expected.narrow(1, prefill - 1, tokens - prefill + 1)).Should().BeNegative();
    }

    [Fact]
    public void NextLogits_TextInThreePieces_GivesTheGoldenLogits()
    {
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        var golden = GoldenCase.Tiny("llama-gqa");
        using var model = LlamaForCausalLM.Load(golden.Model);
        Tensor ids = golden.Tensor("plain.input_ids"), expected = golden.Tensor("plain.logits");
        using var cache = new KeyValueCache(model.Config.LayerCount, 14);

        foreach ((long start, long count) in ((long, long)[])[(0, 4), (4, 7), (11, 3)])
        {
            Tensor logits = model.NextLogits(ids.narrow(1, start, count), cache);
            golden.Excess(logits, expected.narrow(1, start + count - 1, 1)).Should().BeNegative();
        }
    }

    [Theory]
    [MemberData(nameof(WithRuns))]
    public void Backward_PaddedBatch_GivesTheGoldenLossAndGradientNorms(string name)
    {
        using var scope = NewDisposeScope();
        var golden = GoldenCase.Tiny(name);
        using var model = LlamaForCausalLM.Load(golden.Model);
        JsonElement expected = golden.Json.GetProperty("loss");

        // Padding on the right changes no real token, and its labels are ignored.
        Tensor loss = CausalLanguageModel.Loss(model.call(golden.Tensor("right_pad.input_ids")), golden.Tensor("right_pad.labels"));
        loss.backward();

        loss.item<float>().Should().BeApproximately(expected.GetProperty("value").GetSingle(), 1e-5f);
        Dictionary<string, Parameter> parameters = model.named_parameters().ToDictionary(pair => pair.name, pair => pair.parameter);
        foreach (JsonProperty norm in expected.GetProperty("grad_norms").EnumerateObject().Where(norm => !norm.Name.EndsWith("k_proj.bias", StringComparison.Ordinal)))
        {
            double actual = parameters[norm.Name].grad!.norm().item<float>();
            actual.Should().BeApproximately(norm.Value.GetDouble(), 3e-4 * norm.Value.GetDouble(), norm.Name);
        }

        parameters.Keys.Should().BeEquivalentTo(expected.GetProperty("grad_norms").EnumerateObject().Select(norm => norm.Name));
    }

    [Theory]
    [MemberData(nameof(WithRuns))]
    public void Generate_Greedy_GivesTheGoldenSequences(string name)
    {
        var golden = GoldenCase.Tiny(name);
        using var model = LlamaForCausalLM.Load(golden.Model);
        int compared = 0;
        foreach (JsonElement run in golden.Json.GetProperty("generate").EnumerateArray().Where(run => run.GetProperty("eos_token_id").ValueKind == JsonValueKind.Null && !run.TryGetProperty("repetition_penalty", out _) && !run.TryGetProperty("no_repeat_ngram_size", out _)))
        {
            var options = new GenerationOptions { MaxNewTokens = run.GetProperty("max_new_tokens").GetInt32(), EosTokenIds = [] };
            foreach ((JsonElement prompt, JsonElement mask, JsonElement sequence) in Rows(run))
            {
                // Rows of a batch are padded on the left; alone they need no padding.
                int padding = mask.EnumerateArray().Count(real => real.GetInt32() == 0);
                model.Generate(Ids(prompt)[padding..], options).Should().Equal(Ids(sequence)[padding..]);
                compared++;
            }
        }

        compared.Should().BeGreaterThanOrEqualTo(4);
    }

    private static IEnumerable<(JsonElement Prompt, JsonElement Mask, JsonElement Sequence)> Rows(JsonElement run)
        => run.GetProperty("prompt").EnumerateArray().Zip(run.GetProperty("attention_mask").EnumerateArray(), run.GetProperty("sequences").EnumerateArray());

    private static long[] Ids(JsonElement ids) => [.. ids.EnumerateArray().Select(id => id.GetInt64())];
}
