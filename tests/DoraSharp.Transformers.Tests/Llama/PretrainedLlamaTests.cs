using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Transformers.Tests;

/// <summary>Real pretrained models that others made, against what transformers computed with them.</summary>
public class PretrainedLlamaTests
{
    [Theory]
    [InlineData("stories260K")]
    [InlineData("story-llama")]
    public void Forward_RealText_GivesTheGoldenLogits(string name)
    {
        using var scope = NewDisposeScope();
        GoldenCase golden = Golden(name);
        using var model = LlamaForCausalLM.Load(Folder(name));
        Tensor ids = golden.Tensor("logits.input_ids");

        Tensor logits = model.call(ids);

        golden.Excess(logits, golden.Tensor("logits.logits")).Should().BeNegative();
        CausalLanguageModel.Loss(logits, ids).item<float>().Should().BeApproximately(golden.Json.GetProperty("logits").GetProperty("loss").GetSingle(), 2e-5f);
    }

    [Theory]
    [InlineData("stories260K")]
    [InlineData("story-llama")]
    public void Loss_WindowsOfRealText_IsTheGoldenOne(string name)
    {
        using var scope = NewDisposeScope();
        GoldenCase golden = Golden(name);
        using var model = LlamaForCausalLM.Load(Folder(name));
        Tensor ids = golden.Tensor("windows.input_ids");

        Tensor losses = CausalLanguageModel.Loss(model.call(ids), ids, nn.Reduction.None).mean([1]);

        float[] expected = [.. golden.Json.GetProperty("windows").GetProperty("losses").EnumerateArray().Select(loss => loss.GetSingle())];
        losses.data<float>().ToArray().Should().Equal(expected, (actual, loss) => MathF.Abs(actual - loss) < 2e-5f);
    }

    [Theory]
    [InlineData("stories260K")]
    [InlineData("story-llama")]
    public void Generate_Greedy_GivesTheGoldenTokensAndText(string name)
    {
        GoldenCase golden = Golden(name);
        using var model = LlamaForCausalLM.Load(Folder(name));
        var tokenizer = HuggingFaceTokenizer.Load(Folder(name));
        JsonElement runs = golden.Json.GetProperty("generate");
        runs.GetArrayLength().Should().BeGreaterThan(2);
        foreach (JsonElement run in runs.EnumerateArray())
        {
            JsonElement eos = run.GetProperty("eos_token_id");
            var options = new GenerationOptions
            {
                MaxNewTokens = run.GetProperty("max_new_tokens").GetInt32(),
                EosTokenIds = eos.ValueKind == JsonValueKind.Null ? [] : [eos.GetInt64()],
            };

            long[] text = model.Generate(Ids(run.GetProperty("prompt_ids")), options);

            text.Should().Equal(Ids(run.GetProperty("sequence")));
            tokenizer.Decode(text).Should().Be(run.GetProperty("text").GetString());
            if (run.GetProperty("prompt").GetString() is { } prompt)
            {
                tokenizer.Encode(prompt).Should().Equal(Ids(run.GetProperty("prompt_ids")));
            }
        }
    }

    [Theory]
    [InlineData("shakespeare")]
    [InlineData("tinystories")]
    public void Loss_UntouchedStories260K_IsTheFigureOfTheQuantizationFixtures(string text)
    {
        using var scope = NewDisposeScope();
        GoldenCase golden = GoldenCase.Of("tensors.safetensors", "bnb", "model-stories260K");
        using var model = LlamaForCausalLM.Load(Folder("stories260K"));
        Tensor ids = golden.Tensor($"token_ids.{text}");

        float loss = CausalLanguageModel.Loss(model.call(ids), ids).item<float>();

        loss.Should().BeApproximately(golden.Json.GetProperty("losses").GetProperty("dense").GetProperty(text).GetSingle(), 2e-5f);
    }

    [Fact]
    public void Training_EveryParameterOfStories260K_FollowsTheGoldenRun()
    {
        using var scope = NewDisposeScope();
        GoldenCase golden = GoldenCase.Of("../stories260K-dora/batches.safetensors", "models", "train", "stories260K-full");
        using var model = LlamaForCausalLM.Load(Folder("stories260K"));
        Tensor ids = golden.Tensor("input_ids"), labels = golden.Tensor("labels");
        JsonElement losses = golden.Json.GetProperty("loss"), norms = golden.Json.GetProperty("grad_norm"), rates = golden.Json.GetProperty("lr");
        using var optimizer = optim.AdamW(model.parameters(), lr: 0, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01);
        var counts = new List<long>();

        for (int step = 0; step < 20; step++)
        {
            using var temporaries = NewDisposeScope();
            optimizer.zero_grad();
            Tensor loss = CausalLanguageModel.Loss(model.call(ids[step]), labels[step]);
            loss.backward();
            double norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm: 1);
            foreach (optim.ILearningRateController group in optimizer.ParamGroups)
            {
                group.LearningRate = rates[step].GetDouble();
            }

            optimizer.step();
            loss.item<float>().Should().BeApproximately(losses[step].GetSingle(), 1e-4f, "step {0}", step);
            norm.Should().BeApproximately(norms[step].GetDouble(), 2e-3 * norms[step].GetDouble(), "step {0}", step);
            counts.Add(DisposeScopeManager.Statistics.ThreadTotalLiveCount);
        }

        CausalLanguageModel.Loss(model.call(ids[0]), labels[0]).item<float>().Should().BeApproximately(golden.Json.GetProperty("final_eval_loss_on_batch_0").GetSingle(), 1e-4f);
        counts[^1].Should().Be(counts[1]);
    }

    [Fact]
    public void Generate_ManyTimes_KeepsTheTensorCountFlat()
    {
        using var model = LlamaForCausalLM.Load(Folder("stories260K"));
        var options = new GenerationOptions { MaxNewTokens = 12, Temperature = 0.8, TopK = 40, TopP = 0.95 };
        model.Generate([1], options);
        long before = DisposeScopeManager.Statistics.ThreadTotalLiveCount;

        for (int run = 0; run < 3; run++)
        {
            model.Generate([1, 403, 407], options);
        }

        DisposeScopeManager.Statistics.ThreadTotalLiveCount.Should().Be(before);
    }

    private static GoldenCase Golden(string name) => GoldenCase.Of("cases.safetensors", "models", "pretrained", name);

    private static string Folder(string name)
        => name == "stories260K" ? SharedFolder.Require("models", name, "hf") : SharedFolder.Require("models", name);

    private static long[] Ids(JsonElement ids) => [.. ids.EnumerateArray().Select(id => id.GetInt64())];
}
