using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Transformers.Tests.Adapters;

public class AdaptedLlamaTests
{
    private static readonly LlamaConfig Config = new()
    {
        VocabSize = 97,
        HiddenSize = 48,
        IntermediateSize = 80,
        LayerCount = 2,
        HeadCount = 6,
        KeyValueHeadCount = 2,
        MaxPositions = 64,
        TieWordEmbeddings = false,
    };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Inject_AllLinear_AdaptsEveryProjectionButTheHead(bool dora)
    {
        using var scope = NewDisposeScope();
        manual_seed(81);
        using LlamaForCausalLM model = new(Config);
        Tensor ids = randint(0, 97, [2, 11], dtype: ScalarType.Int64);
        Tensor expected = model.call(ids);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { UseDora = dora }, new() { Probe = () => model.call(ids) });

        adapted.Report.Sites.Should().HaveCount(14).And.OnlyContain(site => site.Route == InjectionRoute.Replace);
        adapted.Report.LeftAlone.Should().Equal("lm_head");
        model.call(ids).bytes.SequenceEqual(expected.bytes).Should().BeTrue();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Train_TwoHundredSteps_LearnsWithAFlatLiveTensorCountAndMergesExactly(bool dora)
    {
        using var outer = NewDisposeScope();
        manual_seed(82);
        using LlamaForCausalLM model = new(Config);
        Tensor ids = randint(0, 97, [3, 16], dtype: ScalarType.Int64);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 8, Alpha = 16, UseDora = dora, Dropout = 0.05 });
        using var optimizer = optim.AdamW(adapted.TrainableParameters(), lr: 1e-2, weight_decay: 0);
        double first = Step();
        long tensors = CountWithoutCaches();
        double last = 0;
        for (int i = 0; i < 200; i++)
        {
            last = Step();
        }

        CountWithoutCaches().Should().Be(tensors);
        last.Should().BeLessThan(first - 0.5);
        model.eval();
        Tensor expected = model.call(ids);
        string[] types = [.. model.modules().Select(m => m.GetType().Name).Distinct()];
        adapted.MergeAndUnload();
        double error = ((model.call(ids) - expected).abs().max() / expected.abs().max()).item<float>();
        error.Should().BeLessThan(1e-5f);
        types.Should().Contain(nameof(AdaptedLinear));
        model.modules().Should().NotContain(m => m is AdaptedLinear || m is AdapterStack);

        // What is kept of a magnitude depends on its values: rows with a small gain are listed.
        long CountWithoutCaches()
        {
            foreach ((_, AdapterStack stack) in adapted.Layers)
            {
                stack.Invalidate();
            }

            return LiveTensors.Count;
        }

        double Step()
        {
            using (NewDisposeScope())
            {
                optimizer.zero_grad();
            }

            using Tensor logits = model.call(ids);
            using Tensor loss = CausalLanguageModel.Loss(logits, ids);
            loss.backward();
            using (NewDisposeScope())
            {
                optimizer.step();
            }

            return loss.item<float>();
        }
    }

    [Fact]
    public void Generate_AdaptedAndMerged_GiveTheSameTokens()
    {
        using var scope = NewDisposeScope();
        manual_seed(83);
        using LlamaForCausalLM model = new(Config);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { UseDora = true, Initialization = LoraInitialization.Random, TargetModules = ["q_proj", "v_proj", "down_proj"] });
        using (no_grad())
        {
            foreach ((_, AdapterStack stack) in adapted.Layers)
            {
                ((LoraAdapter)stack["default"]).Magnitude!.mul_(1.3);
            }
        }

        GenerationOptions options = new() { MaxNewTokens = 24 };
        long[] expected = model.Generate([1, 2, 3], options);
        adapted.Merge();
        model.Generate([1, 2, 3], options).Should().Equal(expected);
        adapted.Unmerge();
        using (adapted.Disable())
        {
            model.Generate([1, 2, 3], options).Should().NotEqual(expected);
        }
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void GradientCheckpointing_DecoderLayers_GivesTheGradientsBitForBit(ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        manual_seed(83);
        using LlamaForCausalLM model = new(Config, dtype: dtype);
        Tensor ids = randint(0, 97, [3, 16], dtype: ScalarType.Int64);
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 8, UseDora = true, Dropout = 0.1, Initialization = LoraInitialization.Random });
        Tensor[] expected = Train();
        using (GradientCheckpointing checkpointing = GradientCheckpointing.Enable(model, @"model\.layers\.\d+", () => model.call(ids)))
        {
            checkpointing.Modules.Should().Equal("model.layers.0", "model.layers.1");
            Tensor[] found = Train();
            found.Should().HaveCount(1 + (14 * 3));
            found.Zip(expected, (a, b) => a.bytes.SequenceEqual(b.bytes)).Should().NotContain(false);
        }

        model.Generate([1, 2, 3], new() { MaxNewTokens = 2 }).Should().HaveCountGreaterThan(3);

        Tensor[] Train()
        {
            manual_seed(84);
            Parameter[] parameters = [.. adapted.TrainableParameters()];
            Array.ForEach(parameters, parameter => parameter.grad = null);
            Tensor loss = CausalLanguageModel.Loss(model.call(ids), ids);
            loss.backward();
            return [loss, .. parameters.Select(parameter => parameter.grad!.clone())];
        }
    }
}
