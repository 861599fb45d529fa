using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Transformers.Tests;

public class LlamaForCausalLMTests
{
    private static readonly LlamaConfig Small = new()
    {
        VocabSize = 61,
        HiddenSize = 48,
        IntermediateSize = 80,
        LayerCount = 2,
        HeadCount = 6,
        KeyValueHeadCount = 2,
    };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void StateDict_FreshModel_HasTheNamesOfHuggingFace(bool tied)
    {
        using var model = new LlamaForCausalLM(Small with { TieWordEmbeddings = tied, LayerCount = 1, AttentionBias = true });

        string[] expected =
        [
            "model.embed_tokens.weight",
            "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.q_proj.bias",
            "model.layers.0.self_attn.k_proj.weight", "model.layers.0.self_attn.k_proj.bias",
            "model.layers.0.self_attn.v_proj.weight", "model.layers.0.self_attn.v_proj.bias",
            "model.layers.0.self_attn.o_proj.weight", "model.layers.0.self_attn.o_proj.bias",
            "model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.down_proj.weight",
            "model.layers.0.input_layernorm.weight", "model.layers.0.post_attention_layernorm.weight",
            "model.norm.weight",
        ];
        model.state_dict().Keys.Should().BeEquivalentTo(tied ? expected : [.. expected, "lm_head.weight"]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Backward_FreshModel_ReachesEveryParameterAndKeepsTheTensorCountFlat(bool tied)
    {
        manual_seed(5);
        using var model = new LlamaForCausalLM(Small with { TieWordEmbeddings = tied, AttentionBias = true, MlpBias = true });
        using Tensor ids = randint(0, 61, [3, 17], dtype: ScalarType.Int64);

        var counts = new List<long>();
        for (int step = 0; step < 4; step++)
        {
            model.zero_grad();
            using (var scope = NewDisposeScope())
            {
                Tensor loss = CausalLanguageModel.Loss(model.call(ids), ids);
                loss.backward();
            }

            counts.Add(DisposeScopeManager.Statistics.ThreadTotalLiveCount);
        }

        foreach ((string name, TorchSharp.Modules.Parameter parameter) in model.named_parameters())
        {
            using Tensor? gradient = parameter.grad;
            gradient.Should().NotBeNull(name);
        }

        counts.Skip(1).Should().OnlyContain(count => count == counts[0]);
    }
}
