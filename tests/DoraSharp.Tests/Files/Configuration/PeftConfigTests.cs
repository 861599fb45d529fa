using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace DoraSharp.Tests.Files;

public sealed class PeftConfigTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Read_OnlyPeftType_GivesPeftsDefaults()
    {
        PeftConfig config = Read("""{"peft_type":"LORA"}""");
        config.NamesTargets.Should().BeFalse();
        config.Options.Should().BeEquivalentTo(new LoraOptions { Rank = 8, Alpha = 8, TargetModules = TargetModules.ModelDefault });
        config.Metadata.InferenceMode.Should().BeFalse();
        config.Metadata.PeftVersion.Should().BeNull();
        config.UnknownFields.Should().BeEmpty();
    }

    [Fact]
    public void Read_EveryField_IsTakenOver()
    {
        PeftConfig config = Read("""
            {
              "peft_type": "LORA", "r": 16, "lora_alpha": 8.485281374238571, "lora_dropout": 0.05, "use_rslora": true, "use_dora": true,
              "init_lora_weights": "gaussian", "target_modules": ["q", "v"], "exclude_modules": ".*\\.1\\..*", "bias": "lora_only",
              "rank_pattern": {"z": 4, "^a.b": 2}, "alpha_pattern": {"k": 7, "j": 0.5}, "layers_to_transform": [3, 1], "layers_pattern": ["h", "blocks"],
              "lora_bias": true, "modules_to_save": ["head", "head"], "trainable_token_indices": {"emb": [5, 2], "other": [0]},
              "target_parameters": ["experts.up"], "ensure_weight_tying": true, "fan_in_fan_out": true,
              "eva_config": {"rho": 1.5, "tau": 0.9, "use_label_mask": false, "label_mask_value": -1, "whiten": true, "adjust_scaling_factors": false},
              "corda_config": {"corda_method": "kpm", "verbose": false}, "loftq_config": {"loftq_bits": 4, "loftq_iter": 3},
              "lora_ga_config": {"direction": "A2rBr", "scale": "weight_svd", "stable_gamma": 8},
              "base_model_name_or_path": "base", "revision": "main", "task_type": "CAUSAL_LM", "inference_mode": true, "peft_version": "0.20.0",
              "auto_mapping": {"base_model_class": "Net", "parent_library": "x"},
              "dorasharp_dropout_placement": "peft", "dorasharp_grouped_update": "mergeable", "dorasharp_doubles_attention_output": true
            }
            """);
        LoraOptions options = config.Options.Should().BeOfType<LoraOptions>().Subject;
        options.Should().BeEquivalentTo(new LoraOptions
        {
            Rank = 16,
            Alpha = 8.485281374238571,
            Dropout = 0.05,
            UseRsLora = true,
            UseDora = true,
            Initialization = LoraInitialization.Gaussian,
            RankPattern = [new("z", 4), new("^a.b", 2)],
            AlphaPattern = [new("k", 7), new("j", 0.5)],
            LayersToTransform = [3, 1],
            LayersPattern = ["h", "blocks"],
            Bias = BiasTraining.LoraOnly,
            LoraBias = true,
            ModulesToSave = ["head", "head"],
            TrainableTokens = [new("emb", 5, 2), new("other", 0)],
            TargetParameters = ["experts.up"],
            EnsureWeightTying = true,
            FanInFanOut = true,
            Eva = new() { Rho = 1.5, Tau = 0.9, UseLabelMask = false, LabelMaskValue = -1, Whiten = true, AdjustScalingFactors = false },
            Corda = new() { Method = CordaMethod.KnowledgePreserved },
            Loftq = new() { Iterations = 3 },
            LoraGa = new() { Direction = LoraGaDirection.A2rBr, Scale = LoraGaScale.WeightSvd, StableGamma = 8 },
            TaskType = "CAUSAL_LM",
            DropoutPlacement = DropoutPlacement.Peft,
            GroupedUpdate = GroupedUpdate.Mergeable,
            DoublesAttentionOutput = true,
        }, compare => compare.Excluding(o => o.TargetModules).Excluding(o => o.ExcludeModules).WithStrictOrdering());
        options.TargetModules.Equals(TargetModules.Create("q", "v")).Should().BeTrue();
        options.ExcludeModules!.Pattern.Should().Be(@".*\.1\..*");
        config.Metadata.Should().BeEquivalentTo(
            new PeftMetadata { BaseModelNameOrPath = "base", Revision = "main", PeftVersion = "0.20.0" },
            compare => compare.Excluding(m => m.AdditionalFields).Excluding(m => m.Source));
        config.Metadata.AdditionalFields.Keys.Should().Equal("auto_mapping");
        config.UnknownFields.Should().BeEmpty();

        // Without the file's own forms, all of it is written and read anew.
        File.WriteAllBytes(folder.File("anew.json"), PeftConfig.Serialize(options, config.Metadata with { Source = null }));
        PeftConfigReader.Read(folder.File("anew.json")).Options.Should().BeEquivalentTo(options, compare => compare.WithStrictOrdering());
    }

    [Fact]
    public void Read_EveryFieldOfVera_IsTakenOver()
    {
        PeftConfig config = Read("""
            {
              "peft_type": "VERA", "r": 4, "target_modules": ["q"], "vera_dropout": 0.25, "d_initial": 0.5, "projection_prng_key": 9007199254740993,
              "save_projection": false, "bias": "vera_only", "modules_to_save": ["head"], "fan_in_fan_out": true, "layers_to_transform": 2,
              "layers_pattern": "h", "init_weights": true, "task_type": "SEQ_CLS", "dorasharp_use_dora": true, "dorasharp_exclude_modules": ["k"]
            }
            """);
        config.Options.Should().BeOfType<VeraOptions>().Which.Should().BeEquivalentTo(new VeraOptions
        {
            Rank = 4,
            TargetModules = ["q"],
            ExcludeModules = ["k"],
            Dropout = 0.25,
            DInitial = 0.5,
            ProjectionKey = 9007199254740993,
            SaveProjection = false,
            Bias = BiasTraining.LoraOnly,
            ModulesToSave = ["head"],
            FanInFanOut = true,
            LayersToTransform = [2],
            LayersPattern = ["h"],
            TaskType = "SEQ_CLS",
            UseDora = true,
        });
        config.UnknownFields.Should().BeEmpty();
        Read("""{"peft_type":"VERA"}""").Options.Should().BeEquivalentTo(new VeraOptions { TargetModules = TargetModules.ModelDefault });
        new VeraOptions().Rank.Should().Be(256);
    }

    [Theory]
    [InlineData("\"all-linear\"")]
    [InlineData("\"All-Linear\"")]
    public void Read_AllLinear_IsRecognised(string json) =>
        Read($$"""{"peft_type":"LORA","target_modules":{{json}}}""").Options.TargetModules.IsAllLinear.Should().BeTrue();

    [Theory]
    [InlineData("true", "kaiming")]
    [InlineData("false", "random")]
    [InlineData("\"gaussian\"", "gaussian")]
    [InlineData("\"orthogonal\"", "orthogonal")]
    [InlineData("\"pissa\"", "pissa")]
    [InlineData("\"pissa_niter_16\"", "pissa_niter_16")]
    [InlineData("\"olora\"", "olora")]
    [InlineData("\"eva\"", "eva")]
    [InlineData("\"corda\"", "corda")]
    [InlineData("\"loftq\"", "loftq")]
    [InlineData("\"lora_ga\"", "lora_ga")]
    public void Read_Initialization_IsRecognisedAndWrittenBack(string json, string expected)
    {
        PeftConfig config = Read($$"""{"peft_type":"LORA","init_lora_weights":{{json}}}""");
        ((LoraOptions)config.Options).Initialization.Name.Should().Be(expected);
        Written(config.Options)["init_lora_weights"]!.ToJsonString().Should().Be(json);
    }

    [Theory]
    // Not JSON, or not harmless JSON.
    [InlineData("", "JSON")]
    [InlineData("[]", "no JSON object")]
    [InlineData("""{"peft_type":"LORA",}""", "JSON")]
    [InlineData("""{"peft_type":"LORA"}{}""", "JSON")]
    [InlineData("""{"peft_type":"LORA","x":NaN}""", "JSON")]
    [InlineData("""{"peft_type":"LORA","r":8,"r":9}""", "'r'")]
    [InlineData("""{"peft_type":"LORA","x":{"a":1,"\u0061":2}}""", "'a'")]
    [InlineData("""{"peft_type":"LORA","x":["\ud800"]}""", "surrogate")]
    [InlineData("""{"peft_type":"LORA","\udc00":1}""", "")]
    // Types and ranges.
    [InlineData("""{}""", "peft_type is missing")]
    [InlineData("""{"peft_type":null}""", "peft_type is missing")]
    [InlineData("""{"peft_type":7}""", "peft_type is 7")]
    [InlineData("""{"peft_type":"IA3"}""", "peft_type is \"IA3\"; it must be \"LORA\" or \"VERA\"")]
    [InlineData("""{"peft_type":"LORA","r":0}""", "Rank")]
    [InlineData("""{"peft_type":"LORA","r":-4}""", "Rank")]
    [InlineData("""{"peft_type":"LORA","r":4.5}""", "r is 4.5")]
    [InlineData("""{"peft_type":"LORA","r":1e400}""", "r is 1e400")]
    [InlineData("""{"peft_type":"LORA","r":99999999999999999999}""", "r is 99999999999999999999")]
    [InlineData("""{"peft_type":"LORA","r":"8"}""", "r is \"8\"")]
    [InlineData("""{"peft_type":"LORA","r":null}""", "r is null")]
    [InlineData("""{"peft_type":"LORA","lora_alpha":1e400}""", "lora_alpha is 1e400")]
    [InlineData("""{"peft_type":"LORA","lora_alpha":[]}""", "lora_alpha is []")]
    [InlineData("""{"peft_type":"LORA","lora_dropout":1}""", "Dropout")]
    [InlineData("""{"peft_type":"LORA","lora_dropout":-0.1}""", "Dropout")]
    [InlineData("""{"peft_type":"LORA","use_dora":1}""", "use_dora is 1")]
    [InlineData("""{"peft_type":"LORA","use_rslora":"true"}""", "use_rslora")]
    [InlineData("""{"peft_type":"LORA","inference_mode":null}""", "inference_mode")]
    [InlineData("""{"peft_type":"LORA","target_modules":7}""", "target_modules is 7")]
    [InlineData("""{"peft_type":"LORA","target_modules":["q",null]}""", "target_modules is null")]
    [InlineData("""{"peft_type":"LORA","target_modules":"(q"}""", "'(q' is no valid regular expression")]
    [InlineData("""{"peft_type":"LORA","exclude_modules":"all-linear"}""", "ExcludeModules")]
    [InlineData("""{"peft_type":"LORA","rank_pattern":[]}""", "rank_pattern is []")]
    [InlineData("""{"peft_type":"LORA","rank_pattern":{"q":0}}""", "RankPattern has the entry 'q'")]
    [InlineData("""{"peft_type":"LORA","rank_pattern":{"q":1.5}}""", "rank_pattern is 1.5")]
    [InlineData("""{"peft_type":"LORA","alpha_pattern":{"q":"1"}}""", "alpha_pattern is \"1\"")]
    [InlineData("""{"peft_type":"LORA","base_model_name_or_path":7}""", "base_model_name_or_path is 7")]
    [InlineData("""{"peft_type":"LORA","task_type":{}}""", "task_type is {}")]
    [InlineData("""{"peft_type":"LORA","bias":"some"}""", "bias is \"some\"; it must be \"none\" or \"all\" or \"lora_only\"")]
    [InlineData("""{"peft_type":"VERA","bias":"lora_only"}""", "\"vera_only\"")]
    [InlineData("""{"peft_type":"LORA","init_lora_weights":"mica"}""", "init_lora_weights is \"mica\"")]
    [InlineData("""{"peft_type":"LORA","init_lora_weights":"pissa_niter_0"}""", "init_lora_weights is \"pissa_niter_0\"")]
    [InlineData("""{"peft_type":"LORA","init_lora_weights":"pissa_niter_99999999999"}""", "init_lora_weights")]
    [InlineData("""{"peft_type":"LORA","init_lora_weights":null}""", "init_lora_weights is null")]
    [InlineData("""{"peft_type":"LORA","layers_to_transform":[1,"2"]}""", "layers_to_transform is \"2\"")]
    [InlineData("""{"peft_type":"LORA","layers_to_transform":1.5}""", "layers_to_transform is 1.5")]
    [InlineData("""{"peft_type":"LORA","layers_pattern":["h",""]}""", "layers_pattern is [\"h\",\"\"]")]
    [InlineData("""{"peft_type":"LORA","modules_to_save":"head"}""", "modules_to_save is \"head\"")]
    [InlineData("""{"peft_type":"LORA","target_parameters":[1]}""", "target_parameters is 1")]
    [InlineData("""{"peft_type":"LORA","trainable_token_indices":[1,1]}""", "trainable_token_indices is [1,1]")]
    [InlineData("""{"peft_type":"LORA","trainable_token_indices":[-1]}""", "trainable_token_indices is [-1]")]
    [InlineData("""{"peft_type":"LORA","trainable_token_indices":{"emb":[]}}""", "trainable_token_indices")]
    [InlineData("""{"peft_type":"LORA","trainable_token_indices":{"emb":3}}""", "trainable_token_indices is 3")]
    [InlineData("""{"peft_type":"LORA","eva_config":{"rho":0.5}}""", "eva_config.rho is 0.5")]
    [InlineData("""{"peft_type":"LORA","eva_config":{"new":1}}""", "eva_config.new is not known")]
    [InlineData("""{"peft_type":"LORA","eva_config":[1]}""", "eva_config is [1]")]
    [InlineData("""{"peft_type":"LORA","loftq_config":{"loftq_bits":8}}""", "loftq_config.loftq_bits is 8")]
    [InlineData("""{"peft_type":"LORA","corda_config":{"cache_file":"x"}}""", "corda_config.cache_file is \"x\" (only null is supported)")]
    [InlineData("""{"peft_type":"LORA","corda_config":{"use_float16_for_covariance":true}}""", "corda_config.use_float16_for_covariance is true")]
    [InlineData("""{"peft_type":"LORA","lora_ga_config":{"direction":"up"}}""", "lora_ga_config.direction is \"up\"")]
    [InlineData("""{"peft_type":"VERA","d_initial":"x"}""", "d_initial is \"x\"")]
    [InlineData("""{"peft_type":"LORA","dorasharp_grouped_update":"other"}""", "dorasharp_grouped_update is \"other\"")]
    // What is not supported.
    [InlineData("""{"peft_type":"LORA","alora_invocation_tokens":[1]}""", "alora_invocation_tokens is [1] (only null is supported)")]
    [InlineData("""{"peft_type":"LORA","arrow_config":{"top_k":3}}""", "arrow_config is")]
    [InlineData("""{"peft_type":"LORA","use_bdlora":{"nblocks":1}}""", "use_bdlora is")]
    [InlineData("""{"peft_type":"LORA","kasa_config":{"beta":1}}""", "kasa_config is")]
    [InlineData("""{"peft_type":"LORA","monteclora_config":{"a":1}}""", "monteclora_config is")]
    [InlineData("""{"peft_type":"LORA","velora_config":{"a":1}}""", "velora_config is")]
    [InlineData("""{"peft_type":"LORA","layer_replication":[[0,2]]}""", "layer_replication is [[0,2]]")]
    [InlineData("""{"peft_type":"LORA","megatron_core":"other"}""", "megatron_core is \"other\" (only \"megatron.core\" is supported)")]
    [InlineData("""{"peft_type":"LORA","megatron_config":{"a":1}}""", "megatron_config is")]
    [InlineData("""{"peft_type":"LORA","qalora_group_size":32,"use_qalora":true}""", "qalora_group_size is 32 (only 16 is supported). use_qalora is true")]
    [InlineData("""{"peft_type":"VERA","init_weights":false}""", "init_weights is false (only true is supported)")]
    public void Read_WhatCannotBeHonoured_IsRefusedWithPathAndField(string json, string reason) => Refused(json, reason);

    [Theory]
    [InlineData("""{"peft_type":"LORA","modules_to_save":[],"eva_config":{},"loftq_config":null,"layers_pattern":[],"qalora_group_size":16.0,"rank_pattern":null,"megatron_core":null,"trainable_token_indices":[],"layers_to_transform":[],"target_parameters":[]}""")]
    public void Read_UnsupportedFieldsThatSetNothing_AreAccepted(string json) => Read(json).UnknownFields.Should().BeEmpty();

    [Fact]
    public void Read_DeepNestingAndHugeFile_AreRefused()
    {
        Refused("{\"peft_type\":\"LORA\",\"x\":" + new string('[', 100_000) + new string(']', 100_000) + "}", "JSON");
        Refused("{\"peft_type\":\"LORA\"}" + new string(' ', 1 << 20), "at most");
        Refused("{\"peft_type\":\"" + new string('x', 100_000) + "\"}", "x…").Message.Length.Should().BeLessThan(1000);
    }

    [Fact]
    public void Read_InvalidUtf8_IsRefused()
    {
        File.WriteAllBytes(folder.File("c.json"), [.. "{\"peft_type\":\"LORA\",\"x\":\""u8, 0xC3, 0x28, .. "\"}"u8]);
        ((Action)(() => PeftConfigReader.Read(folder.File("c.json")))).Should().Throw<InvalidDataException>().WithMessage("*c.json*");
    }

    [Fact]
    public void Serialize_Defaults_EqualsPeftsText()
    {
        using JsonDocument golden = Fields();
        string expected = golden.RootElement.GetProperty("default_json").GetString()!;
        byte[] actual = PeftConfig.Serialize(new LoraOptions { TargetModules = TargetModules.ModelDefault }, new PeftMetadata { InferenceMode = false });
        Encoding.UTF8.GetString(actual).Should().Be(expected);
    }

    [Fact]
    public void Serialize_PatternsAndUnknownFields_KeepTheirOrderAndValues()
    {
        PeftConfig config = Read("""{"peft_type":"LORA","target_modules":["v","q"],"rank_pattern":{"z":4,"a":2},"zz_new":{"b":1.50,"a":"é"},"auto_mapping":{"k":"v"}}""");
        config.UnknownFields.Should().Equal("zz_new");
        string text = Encoding.UTF8.GetString(PeftConfig.Serialize(config.Options, config.Metadata with { Source = null }));
        text.Should().Contain("\"rank_pattern\": {\n    \"z\": 4,\n    \"a\": 2\n  },").And.Contain("\"target_modules\": [\n    \"v\",\n    \"q\"\n  ],")
            .And.EndWith("\"velora_config\": null,\n  \"zz_new\": {\n    \"b\": 1.50,\n    \"a\": \"\\u00e9\"\n  }\n}").And.Contain("\"auto_mapping\": {\n    \"k\": \"v\"\n  },");
    }

    [Theory]
    [InlineData("layers_to_transform", "3")]
    [InlineData("layers_to_transform", "[]")]
    [InlineData("layers_pattern", "\"h\"")]
    [InlineData("lora_alpha", "8.0")]
    [InlineData("lora_dropout", "0")]
    [InlineData("loftq_config", "null")]
    [InlineData("qalora_group_size", "16.0")]
    [InlineData("target_modules", "[]")]
    [InlineData("init_lora_weights", "\"Gaussian\"")]
    [InlineData("trainable_token_indices", "{}")]
    [InlineData("rank_pattern", "{\n    \"z\": 4,\n    \"a\": 2\n  }")]
    [InlineData("zz_new", "1.50")]
    public void Serialize_FieldThatStillMeansTheSame_KeepsItsForm(string name, string value)
    {
        SortedDictionary<string, string> fields = new() { ["base_model_name_or_path"] = "\"x\"", ["peft_type"] = "\"LORA\"", [name] = value };
        PeftConfig config = Read(Text(fields));
        PeftMetadata changed = config.Metadata with { BaseModelNameOrPath = "y" };
        fields["base_model_name_or_path"] = "\"y\"";
        Encoding.UTF8.GetString(PeftConfig.Serialize(config.Options, changed)).Should().Be(Text(fields));
    }

    [Fact]
    public void Serialize_NothingChanged_IsTheFileByteForByte()
    {
        const string text = "{\t\"x\":1,\r\n \"peft_type\" :\"LORA\", \"auto_mapping\": null, \"lora_alpha\":8e0,\"bias\":\"\\u006eone\"}\r\n";
        PeftConfig config = Read(text);
        Encoding.UTF8.GetString(PeftConfig.Serialize(config.Options with { }, config.Metadata)).Should().Be(text);
    }

    [Fact]
    public void Serialize_ChangedFields_AreWrittenAnewAndTheOthersKeepTheirForm()
    {
        PeftConfig config = Read(Text(new()
        {
            ["layers_pattern"] = "\"h\"",
            ["layers_to_transform"] = "3",
            ["lora_alpha"] = "8.0",
            ["peft_type"] = "\"LORA\"",
            ["peft_version"] = "\"0.1.0\"",
            ["zz_new"] = "1",
        }));
        LoraOptions options = (LoraOptions)config.Options with { LayersToTransform = [4], Rank = 2, UseDora = true };
        PeftMetadata metadata = config.Metadata with { PeftVersion = "0.2.0", AdditionalFields = new Dictionary<string, JsonElement>() };
        Encoding.UTF8.GetString(PeftConfig.Serialize(options, metadata)).Should().Be(Text(new()
        {
            ["layers_pattern"] = "\"h\"",
            ["layers_to_transform"] = "[\n    4\n  ]",
            ["lora_alpha"] = "8.0",
            ["peft_type"] = "\"LORA\"",
            ["peft_version"] = "\"0.2.0\"",
            ["r"] = "2",
            ["use_dora"] = "true",
        }));
    }

    [Fact]
    public void Serialize_OptionsOfAnotherKindThanTheFile_AreWrittenWhole()
    {
        PeftConfig config = Read("""{"peft_type":"LORA","target_modules":["q"]}""");
        JsonObject written = JsonNode.Parse(PeftConfig.Serialize(new VeraOptions { Rank = 8, TargetModules = ["q"] }, config.Metadata))!.AsObject();
        written["peft_type"]!.GetValue<string>().Should().Be("VERA");
        written["r"]!.GetValue<int>().Should().Be(8, "left out it would be VeRA's default");
    }

    [Fact]
    public void Serialize_Vera_HasPeftsFieldsAndNoOthers()
    {
        string golden = SharedFolder.Require("fixtures", "peft", "vera_prng_projection", "default", "adapter_config.json");
        VeraOptions options = new() { Rank = 4, TargetModules = ["fc2", "fc1"], ProjectionKey = 3, SaveProjection = false };
        PeftMetadata about = new() { AdditionalFields = new Dictionary<string, JsonElement> { ["auto_mapping"] = JsonElement.Parse(File.ReadAllBytes(golden)).GetProperty("auto_mapping") } };
        Encoding.UTF8.GetString(PeftConfig.Serialize(options, about)).Should().Be(File.ReadAllText(golden));
        JsonObject own = JsonNode.Parse(PeftConfig.Serialize(options with { UseDora = true, ExcludeModules = ["k"] }, about))!.AsObject();
        own["dorasharp_use_dora"]!.GetValue<bool>().Should().BeTrue();
        own["dorasharp_exclude_modules"]!.AsArray().Should().ContainSingle();
    }

    [Fact]
    public void Serialize_OwnFields_AreWrittenOnlyWhereTheySaySomething()
    {
        Written(new LoraOptions()).Should().NotContain(field => field.Key.StartsWith("dorasharp", StringComparison.Ordinal));
        JsonObject written = Written(new LoraOptions { GroupedUpdate = GroupedUpdate.Mergeable, DropoutPlacement = DropoutPlacement.Peft, DoublesAttentionOutput = true });
        written["dorasharp_grouped_update"]!.GetValue<string>().Should().Be("mergeable");
        written["dorasharp_dropout_placement"]!.GetValue<string>().Should().Be("peft");
        written["dorasharp_doubles_attention_output"]!.GetValue<bool>().Should().BeTrue();
    }

    [Fact]
    public void Serialize_TokensThatPeftsFormatCannotHold_AreRefused()
    {
        ((Action)(() => Written(new LoraOptions { TrainableTokens = [new(null, 1), new("emb", 2)] }))).Should().Throw<ArgumentException>().WithMessage("*TrainableTokens*");
        ((Action)(() => Written(new LoraOptions { TrainableTokens = [new("emb", 1), new("emb", 2)] }))).Should().Throw<ArgumentException>().WithMessage("*TrainableTokens*");
        Written(new LoraOptions { TrainableTokens = [new(null, 4, 2)] })["trainable_token_indices"]!.ToJsonString().Should().Be("[4,2]");
    }

    [Fact]
    public void Serialize_AdditionalFieldThatOptionsSet_IsRefused()
    {
        using JsonDocument value = JsonDocument.Parse("4");
        PeftMetadata metadata = new() { AdditionalFields = new Dictionary<string, JsonElement> { ["r"] = value.RootElement } };
        ((Action)(() => PeftConfig.Serialize(new LoraOptions(), metadata))).Should().Throw<ArgumentException>().WithMessage("*'r'*");
    }

    private static string Text(SortedDictionary<string, string> fields) =>
        "{\n  " + string.Join(",\n  ", fields.Select(static field => $"\"{field.Key}\": {field.Value}")) + "\n}";

    private static JsonDocument Fields() =>
        JsonDocument.Parse(File.ReadAllBytes(SharedFolder.Require("fixtures", "targeting", "lora_config_fields.json")));

    private static JsonObject Written(AdapterOptions options) =>
        JsonNode.Parse(PeftConfig.Serialize(options, new PeftMetadata()))!.AsObject();

    private PeftConfig Read(string json)
    {
        string path = folder.File("adapter_config.json");
        File.WriteAllText(path, json);
        return PeftConfigReader.Read(path);
    }

    private InvalidDataException Refused(string json, string reason) =>
        this.Invoking(test => test.Read(json)).Should().Throw<InvalidDataException>().WithMessage($"'{folder.File("adapter_config.json")}'*{reason}*").Which;
}
