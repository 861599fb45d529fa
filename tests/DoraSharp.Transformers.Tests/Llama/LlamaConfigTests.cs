using System.Text.Json.Nodes;

namespace DoraSharp.Transformers.Tests;

public class LlamaConfigTests
{
    private const string Minimal =
        """
        {
          "model_type": "llama", "vocab_size": 61, "hidden_size": 48, "intermediate_size": 80,
          "num_hidden_layers": 2, "num_attention_heads": 6
        }
        """;

    [Fact]
    public void FromJson_OnlyWhatIsNeeded_TakesTheDefaultsOfTransformers()
    {
        LlamaConfig config = LlamaConfig.FromJson(Minimal);

        config.Should().BeEquivalentTo(new LlamaConfig
        {
            VocabSize = 61,
            HiddenSize = 48,
            IntermediateSize = 80,
            LayerCount = 2,
            HeadCount = 6,
            KeyValueHeadCount = 6,
            HeadDimension = 8,
            MaxPositions = 2048,
            RopeTheta = 10_000,
            RmsNormEpsilon = 1e-6,
            BosTokenId = 1,
            EosTokenIds = [2],
        });
    }

    [Theory]
    [InlineData("7", new long[] { 7 })]
    [InlineData("[7, 9]", new long[] { 7, 9 })]
    [InlineData("null", new long[0])]
    public void FromJson_EndTokens_AreOneOrSeveralOrNone(string json, long[] expected)
        => LlamaConfig.FromJson(With("eos_token_id", json)).EosTokenIds.Should().Equal(expected);

    [Theory]
    [InlineData("model_type", "\"gpt2\"", "gpt2")]
    [InlineData("hidden_act", "\"gelu\"", "gelu")]
    [InlineData("sliding_window", "4096", "sliding_window is 4096")]
    [InlineData("quantization_config", "{\"bits\": 4}", "quantization_config")]
    [InlineData("quantization_config", "{\"quant_method\": \"gptq\", \"bits\": 4}", "gptq")]
    [InlineData("attention_dropout", "0.1", "attention_dropout")]
    [InlineData("partial_rotary_factor", "0.5", "partial_rotary_factor")]
    [InlineData("layer_types", "[\"full_attention\", \"sliding_attention\"]", "layer_types")]
    [InlineData("rope_scaling", "{\"type\": \"longrope\", \"factor\": 2.0}", "longrope")]
    [InlineData("rope_scaling", "{\"type\": \"linear\", \"factor\": 2.0, \"twist\": 3}", "twist")]
    [InlineData("rope_parameters", "{\"full_attention\": {\"rope_type\": \"default\"}}", "full_attention")]
    public void FromJson_FeatureThatIsMissing_IsRefusedByName(string field, string value, string named)
    {
        Action reading = () => LlamaConfig.FromJson(With(field, value));

        reading.Should().Throw<NotSupportedException>().WithMessage($"*config.json*{named}*support*").Which.Message.Should().NotContain("\n");
    }

    [Theory]
    [InlineData("vocab_size", "null", "lacks 'vocab_size'")]
    [InlineData("hidden_size", "-48", "'hidden_size' is -48")]
    [InlineData("hidden_size", "\"48\"", "'hidden_size' is \"48\"")]
    [InlineData("num_hidden_layers", "99999999999", "'num_hidden_layers'")]
    [InlineData("num_attention_heads", "5", "not a multiple")]
    [InlineData("num_key_value_heads", "4", "key-value")]
    [InlineData("head_dim", "7", "even")]
    [InlineData("rms_norm_eps", "0", "'rms_norm_eps' is 0")]
    [InlineData("tie_word_embeddings", "1", "'tie_word_embeddings' is 1")]
    [InlineData("eos_token_id", "[-1]", "eos_token_id")]
    [InlineData("rope_scaling", "[2]", "rope_scaling")]
    [InlineData("rope_scaling", "{\"type\": \"linear\"}", "lacks 'factor'")]
    [InlineData("rope_scaling", "{\"rope_type\": \"llama3\", \"factor\": 8}", "lacks 'low_freq_factor'")]
    public void FromJson_WrongValue_IsNamedWithItsField(string field, string value, string message)
    {
        Action reading = () => LlamaConfig.FromJson(With(field, value));

        reading.Should().Throw<InvalidDataException>().WithMessage($"*config.json*{message}*");
    }

    [Theory]
    [InlineData("")]
    [InlineData("{\"model_type\": ")]
    [InlineData("[1, 2]")]
    public void Load_DamagedJson_IsNamedWithItsPath(string text)
    {
        using var folder = new TemporaryFolder();
        string path = folder.Write("config.json", text);

        Action loading = () => LlamaConfig.Load(folder.Path);

        loading.Should().Throw<InvalidDataException>().WithMessage($"{path}*");
    }

    [Theory]
    [InlineData("gpt2", "gpt2")]
    [InlineData("qwen2", "qwen2")]
    [InlineData("gemma2", "gemma2")]
    [InlineData("phi3", "phi3")]
    [InlineData("mistral-window", "sliding_window")]
    public void Load_OtherArchitecture_SaysWhatWasFoundAndWhatIsSupported(string name, string found)
    {
        string folder = SharedFolder.Require("fixtures", "models", "tiny", name, "model");

        Action loading = () => LlamaForCausalLM.Load(folder);

        loading.Should().Throw<NotSupportedException>().WithMessage($"*{folder}*{found}*support*");
    }

    [Fact]
    public void FromJson_MistralWithoutWindow_IsALlama()
    {
        LlamaConfig config = LlamaConfig.FromJson(With("model_type", "\"mistral\""));

        config.Should().BeEquivalentTo(LlamaConfig.FromJson(Minimal));
    }

    public static TheoryData<RopeScaling?> Scalings =>
    [
        (RopeScaling?)null,
        new LinearRopeScaling { Factor = 4 },
        new DynamicRopeScaling { Factor = 2.5 },
        new Llama3RopeScaling { Factor = 8, LowFrequencyFactor = 1, HighFrequencyFactor = 4, OriginalMaxPositions = 8192 },
        new YarnRopeScaling { Factor = 4 },
        new YarnRopeScaling { Factor = 4, OriginalMaxPositions = 16, BetaFast = 4, BetaSlow = 0.5, AttentionFactor = 0.9, MScale = 0.7, MScaleAllDimensions = 0.8, Truncate = false },
    ];

    [Theory]
    [MemberData(nameof(Scalings), DisableDiscoveryEnumeration = true)]
    public void ToJson_AnyConfig_IsReadBackAsItWas(RopeScaling? scaling)
    {
        var config = new LlamaConfig
        {
            VocabSize = 61,
            HiddenSize = 48,
            IntermediateSize = 80,
            LayerCount = 2,
            HeadCount = 6,
            KeyValueHeadCount = 3,
            HeadDimension = 10,
            MaxPositions = 333,
            RopeTheta = 500_000.5,
            RopeScaling = scaling,
            RmsNormEpsilon = 1.25e-5,
            TieWordEmbeddings = true,
            AttentionBias = true,
            MlpBias = true,
            BosTokenId = null,
            EosTokenIds = [3, 5],
        };

        LlamaConfig.FromJson(config.ToJson()).Should().BeEquivalentTo(config, options => options.RespectingRuntimeTypes());
    }

    [Fact]
    public void Init_ValueOutOfRange_Throws()
    {
        LlamaConfig config = LlamaConfig.FromJson(Minimal);

        config.Invoking(c => c with { HiddenSize = 0 }).Should().Throw<ArgumentOutOfRangeException>().WithMessage("*HiddenSize*");
        config.Invoking(c => c with { RopeTheta = double.NaN }).Should().Throw<ArgumentOutOfRangeException>().WithMessage("*RopeTheta*");
        config.Invoking(c => c with { EosTokenIds = null! }).Should().Throw<ArgumentNullException>();
        config.Invoking(_ => new LinearRopeScaling { Factor = -1 }).Should().Throw<ArgumentOutOfRangeException>().WithMessage("*Factor*");
        config.Invoking(_ => new LlamaForCausalLM(new LlamaConfig { VocabSize = 5, HiddenSize = 50, IntermediateSize = 8, LayerCount = 1, HeadCount = 6 }))
            .Should().Throw<ArgumentException>().WithMessage("*50 is not a multiple*");
        config.Invoking(c => new LlamaForCausalLM(c with { KeyValueHeadCount = 4 })).Should().Throw<ArgumentException>().WithMessage("*key-value*");
    }

    [Fact]
    public void HeadDimension_NotGiven_FollowsTheHiddenSize()
    {
        var config = new LlamaConfig { VocabSize = 5, HiddenSize = 48, IntermediateSize = 8, LayerCount = 1, HeadCount = 6 };

        config.HeadDimension.Should().Be(8);
        (config with { HeadCount = 12 }).HeadDimension.Should().Be(4);
        (config with { HeadDimension = 10, HeadCount = 12 }).HeadDimension.Should().Be(10);
    }

    [Fact]
    public void Load_ByteOrderMark_IsSkipped()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("config.json"), Minimal, new System.Text.UTF8Encoding(encoderShouldEmitUTF8Identifier: true));

        LlamaConfig.Load(folder.Path).Should().BeEquivalentTo(LlamaConfig.FromJson(Minimal));
    }

    private static string With(string field, string value)
    {
        JsonObject json = JsonNode.Parse(Minimal)!.AsObject();
        json[field] = JsonNode.Parse(value);
        return json.ToJsonString();
    }
}
