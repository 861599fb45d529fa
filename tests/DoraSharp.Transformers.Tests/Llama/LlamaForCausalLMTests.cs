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

    [Fact]
    public void Constructor_ASeed_GivesNormalWeightsZeroBiasesAndUnitNorms()
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        using var model = new LlamaForCausalLM(Small with { VocabSize = 997, AttentionBias = true, MlpBias = true });

        foreach ((string name, TorchSharp.Modules.Parameter parameter) in model.named_parameters())
        {
            if (name.EndsWith("bias", StringComparison.Ordinal))
            {
                parameter.abs().max().item<float>().Should().Be(0, name);
            }
            else if (name.Contains("norm", StringComparison.Ordinal))
            {
                parameter.Equals(ones_like(parameter)).Should().BeTrue(name);
            }
            else
            {
                parameter.std().item<float>().Should().BeApproximately(0.02f, 0.001f, name);
            }
        }
    }

    [Fact]
    public void Forward_IdsThatAreNoBatch_Throws()
    {
        using var model = new LlamaForCausalLM(Small);
        using Tensor flat = zeros(5, dtype: ScalarType.Int64), none = zeros([2, 0], dtype: ScalarType.Int64);

        model.Invoking(m => m.call(flat)).Should().Throw<ArgumentException>().WithMessage("*[5]*");
        model.Invoking(m => m.call(none)).Should().Throw<ArgumentException>().WithMessage("*[2, 0]*");
    }

    [Fact]
    public void To_OtherDTypeAndBack_KeepsComputing()
    {
        using var scope = NewDisposeScope();
        manual_seed(2);
        using var model = new LlamaForCausalLM(Small with { TieWordEmbeddings = true });
        Tensor ids = randint(0, 61, [2, 9], dtype: ScalarType.Int64), before = model.call(ids);

        model.to(ScalarType.Float64);
        Tensor after = model.call(ids);

        after.dtype.Should().Be(ScalarType.Float64);
        (after - before).abs().max().item<double>().Should().BeLessThan(1e-6);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Inject_EveryProjection_ReplacesItInItsFieldAndMergesExactly(bool tied)
    {
        using var scope = NewDisposeScope();
        manual_seed(4);
        using var model = new LlamaForCausalLM(Small with { TieWordEmbeddings = tied });
        Tensor ids = randint(0, 61, [2, 9], dtype: ScalarType.Int64), before = model.call(ids);
        string[] order = [.. model.state_dict().Keys];
        string[] targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", .. tied ? Array.Empty<string>() : ["lm_head"]];
        var options = new LoraOptions { Rank = 3, UseDora = true, Initialization = LoraInitialization.Random, TargetModules = [.. targets] };

        AdaptedModel adapted = AdapterInjector.Inject(model, options, new InjectionOptions { Probe = () => model.call(ids) });
        Tensor changed = model.call(ids);
        adapted.MergeAndUnload();
        Tensor merged = model.call(ids);

        adapted.Report.Sites.Should().HaveCount((7 * 2) + (tied ? 0 : 1)).And.OnlyContain(site => site.Route == InjectionRoute.Replace);
        (changed - before).abs().max().item<float>().Should().BeGreaterThan(0.01f);
        (merged - changed).abs().max().item<float>().Should().BeLessThan(1e-5f * changed.abs().max().item<float>());
        model.state_dict().Keys.Should().Equal(order);
    }

    [Fact]
    public void Generate_SameSeed_GivesTheSameText()
    {
        manual_seed(6);
        using var model = new LlamaForCausalLM(Small);
        var options = new GenerationOptions { MaxNewTokens = 20, Temperature = 1, Seed = 5 };

        long[] first = model.Generate([1, 2], options), again = model.Generate([1, 2], options), other = model.Generate([1, 2], options with { Seed = 6 });

        first.Should().HaveCount(22).And.StartWith([1L, 2L]);
        again.Should().Equal(first);
        other.Should().NotEqual(first);
    }

    [Fact]
    public void Generate_EndToken_IsTheLastOne()
    {
        manual_seed(6);
        using var model = new LlamaForCausalLM(Small);
        long[] endless = model.Generate([1, 2], new GenerationOptions { MaxNewTokens = 8, EosTokenIds = [] });
        long end = endless[4];

        long[] text = model.Generate([1, 2], new GenerationOptions { MaxNewTokens = 8, EosTokenIds = [end] });

        text.Should().Equal(endless[..(Array.IndexOf(endless, end, 2) + 1)]);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Generate_AnyMode_KeepsIt(bool training)
    {
        using var model = new LlamaForCausalLM(Small);
        model.train(training);

        model.Generate([1], new GenerationOptions { MaxNewTokens = 2 });

        model.modules().Should().OnlyContain(module => module.training == training);
        is_grad_enabled().Should().BeTrue();
    }

    [Fact]
    public void Generate_PromptOutsideTheVocabulary_Throws()
    {
        using var model = new LlamaForCausalLM(Small);
        var options = new GenerationOptions();

        model.Invoking(m => m.Generate([], options)).Should().Throw<ArgumentException>();
        model.Invoking(m => m.Generate([3, 61], options)).Should().Throw<ArgumentException>().WithMessage("*0 to 60*3, 61*");
        model.Invoking(m => m.Generate([-1], options)).Should().Throw<ArgumentException>();
    }
}
