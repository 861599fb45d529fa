using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using CsCheck;

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
        config.Options.Should().BeEquivalentTo(new LoraOptions { Rank = 8, Alpha = 8 });
        config.Metadata.InferenceMode.Should().BeFalse();
        config.Metadata.PeftVersion.Should().BeNull();
        config.UnknownFields.Should().BeEmpty();
    }

    [Fact]
    public void Read_EverySupportedField_IsTakenOver()
    {
        PeftConfig config = Read("""
            {
              "peft_type": "LORA", "r": 16, "lora_alpha": 8.485281374238571, "lora_dropout": 0.05, "use_rslora": true, "use_dora": true,
              "init_lora_weights": "gaussian", "target_modules": ["q", "v"], "exclude_modules": ".*\\.1\\..*", "bias": "none",
              "rank_pattern": {"z": 4, "^a.b": 2}, "alpha_pattern": {"k": 7, "j": 0.5},
              "base_model_name_or_path": "base", "revision": "main", "task_type": "CAUSAL_LM", "inference_mode": true, "peft_version": "0.20.0",
              "auto_mapping": {"base_model_class": "Net", "parent_library": "x"}
            }
            """);
        config.Options.Should().BeEquivalentTo(new LoraOptions
        {
            Rank = 16,
            Alpha = 8.485281374238571,
            Dropout = 0.05,
            UseRsLora = true,
            UseDora = true,
            Initialization = LoraInitialization.Gaussian,
            RankPattern = [new("z", 4), new("^a.b", 2)],
            AlphaPattern = [new("k", 7), new("j", 0.5)],
        }, options => options.Excluding(o => o.TargetModules).Excluding(o => o.ExcludeModules).WithStrictOrdering());
        config.Options.TargetModules.Equals(TargetModules.Create("q", "v")).Should().BeTrue();
        config.Options.ExcludeModules!.Pattern.Should().Be(@".*\.1\..*");
        config.Metadata.Should().BeEquivalentTo(
            new PeftMetadata { BaseModelNameOrPath = "base", Revision = "main", TaskType = "CAUSAL_LM", PeftVersion = "0.20.0" },
            options => options.Excluding(m => m.AdditionalFields));
        config.Metadata.AdditionalFields.Keys.Should().Equal("auto_mapping");
        config.UnknownFields.Should().BeEmpty();
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
    public void Read_Initialization_IsRecognisedAndWrittenBack(string json, string expected)
    {
        PeftConfig config = Read($$"""{"peft_type":"LORA","init_lora_weights":{{json}}}""");
        config.Options.Initialization.Name.Should().Be(expected);
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
    [InlineData("""{"peft_type":"VERA"}""", "peft_type is \"VERA\"; only \"LORA\"")]
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
    [InlineData("""{"peft_type":"LORA","target_modules":["q",""]}""", "")]
    [InlineData("""{"peft_type":"LORA","target_modules":"(q"}""", "'(q' is no valid regular expression")]
    [InlineData("""{"peft_type":"LORA","exclude_modules":"all-linear"}""", "ExcludeModules")]
    [InlineData("""{"peft_type":"LORA","rank_pattern":[]}""", "rank_pattern is []")]
    [InlineData("""{"peft_type":"LORA","rank_pattern":{"q":0}}""", "RankPattern has the entry 'q'")]
    [InlineData("""{"peft_type":"LORA","rank_pattern":{"q":1.5}}""", "rank_pattern is 1.5")]
    [InlineData("""{"peft_type":"LORA","alpha_pattern":{"q":"1"}}""", "alpha_pattern is \"1\"")]
    [InlineData("""{"peft_type":"LORA","base_model_name_or_path":7}""", "base_model_name_or_path is 7")]
    [InlineData("""{"peft_type":"LORA","task_type":{}}""", "task_type is {}")]
    // What is not supported yet.
    [InlineData("""{"peft_type":"LORA","bias":"all"}""", "bias is \"all\" (only \"none\" is supported)")]
    [InlineData("""{"peft_type":"LORA","init_lora_weights":"pissa"}""", "init_lora_weights is \"pissa\"")]
    [InlineData("""{"peft_type":"LORA","fan_in_fan_out":true}""", "fan_in_fan_out is true (only false is supported)")]
    [InlineData("""{"peft_type":"LORA","modules_to_save":["head"]}""", "modules_to_save is [\"head\"] (only null is supported)")]
    [InlineData("""{"peft_type":"LORA","layers_to_transform":0}""", "layers_to_transform is 0")]
    [InlineData("""{"peft_type":"LORA","loftq_config":{"loftq_bits":4}}""", "loftq_config is")]
    [InlineData("""{"peft_type":"LORA","megatron_core":"other"}""", "megatron_core is \"other\" (only \"megatron.core\" is supported)")]
    [InlineData("""{"peft_type":"LORA","lora_bias":true,"use_qalora":true}""", "lora_bias is true (only false is supported); use_qalora is true")]
    public void Read_WhatCannotBeHonoured_IsRefusedWithPathAndField(string json, string reason) => Refused(json, reason);

    [Theory]
    [InlineData("""{"peft_type":"LORA","modules_to_save":[],"eva_config":{},"loftq_config":null,"layers_pattern":[],"qalora_group_size":16.0,"rank_pattern":null}""")]
    public void Read_UnsupportedFieldsThatSetNothing_AreAccepted(string json) => Read(json).UnknownFields.Should().BeEmpty();

    [Fact]
    public void Read_DeepNestingAndHugeFile_AreRefused()
    {
        Refused("{\"peft_type\":\"LORA\",\"x\":" + new string('[', 100_000) + new string(']', 100_000) + "}", "JSON");
        Refused("{\"peft_type\":\"LORA\"}" + new string(' ', 1 << 24), "at most");
        Refused("{\"peft_type\":\"" + new string('x', 100_000) + "\"}", "x…").Message.Length.Should().BeLessThan(1000);
    }

    [Fact]
    public void Read_InvalidUtf8_IsRefused()
    {
        File.WriteAllBytes(folder.File("c.json"), [.. "{\"peft_type\":\"LORA\",\"x\":\""u8, 0xC3, 0x28, .. "\"}"u8]);
        ((Action)(() => PeftConfigReader.Read(folder.File("c.json")))).Should().Throw<InvalidDataException>().WithMessage("*c.json*");
    }

    [Fact]
    public void Read_MutatedConfigurations_AreReadOrRefused()
    {
        byte[] original = PeftConfig.Serialize(
            new LoraOptions { TargetModules = ["q_proj", "v_proj"], RankPattern = [new("q_proj", 4)], Alpha = 12.5 },
            new PeftMetadata { BaseModelNameOrPath = "é" });
        int refused = 0;
        Edit.Any("\"", "{", "[[[[", "null", "true", "-1", "1e999", "99999999999", "\\ud800", "(", "*", "\"r\":8,", "\"pissa\"", "\0").Array[1, 4].Array[4_000].Sample(
            mutations =>
            {
                foreach (Edit[] edits in mutations)
                {
                    File.WriteAllBytes(folder.File("c.json"), Edit.Apply(edits, original));
                    try
                    {
                        _ = PeftConfigReader.Read(folder.File("c.json"));
                    }
                    catch (InvalidDataException)
                    {
                        refused++;
                    }
                }
            },
            seed: "0N0XIzNsQ0O2",
            iter: 1,
            threads: 1);
        refused.Should().BeInRange(2_000, 3_990);
    }

    [Fact]
    public void Serialize_Defaults_EqualsPeftsText()
    {
        using JsonDocument golden = Fields();
        string expected = golden.RootElement.GetProperty("default_json").GetString()!
            .Replace("\"target_modules\": null", "\"target_modules\": \"all-linear\"", StringComparison.Ordinal);
        byte[] actual = PeftConfig.Serialize(new LoraOptions(), new PeftMetadata { InferenceMode = false });
        Encoding.UTF8.GetString(actual).Should().Be(expected);
    }

    [Fact]
    public void Fields_ComparedWithPefts_AreTheSameWithTheSameDefaults()
    {
        using JsonDocument golden = Fields();
        Dictionary<string, JsonElement> expected = golden.RootElement.GetProperty("fields").EnumerateArray()
            .Where(field => field.GetProperty("in_json").GetBoolean())
            .ToDictionary(field => field.GetProperty("name").GetString()!, field => field.GetProperty("default"));
        PeftFields.Supported.Concat(PeftFields.Unsupported.Keys).Should().BeEquivalentTo(expected.Keys);
        foreach ((string name, JsonNode? fallback) in PeftFields.Unsupported)
        {
            JsonNode.DeepEquals(fallback, JsonNode.Parse(expected[name].GetRawText())).Should().BeTrue(name);
        }
    }

    [Fact]
    public void Serialize_PatternsAndUnknownFields_KeepTheirOrderAndValues()
    {
        PeftConfig config = Read("""{"peft_type":"LORA","target_modules":["v","q"],"rank_pattern":{"z":4,"a":2},"zz_new":{"b":1.50,"a":"é"},"auto_mapping":{"k":"v"}}""");
        config.UnknownFields.Should().Equal("zz_new");
        string text = Encoding.UTF8.GetString(PeftConfig.Serialize(config.Options, config.Metadata));
        text.Should().Contain("\"rank_pattern\": {\n    \"z\": 4,\n    \"a\": 2\n  },").And.Contain("\"target_modules\": [\n    \"v\",\n    \"q\"\n  ],")
            .And.EndWith("\"velora_config\": null,\n  \"zz_new\": {\n    \"b\": 1.50,\n    \"a\": \"\\u00e9\"\n  }\n}").And.Contain("\"auto_mapping\": {\n    \"k\": \"v\"\n  },");
    }

    [Fact]
    public void Serialize_AdditionalFieldThatOptionsSet_IsRefused()
    {
        using JsonDocument value = JsonDocument.Parse("4");
        PeftMetadata metadata = new() { AdditionalFields = new Dictionary<string, JsonElement> { ["r"] = value.RootElement } };
        ((Action)(() => PeftConfig.Serialize(new LoraOptions(), metadata))).Should().Throw<ArgumentException>().WithMessage("*'r'*");
    }

    private static JsonDocument Fields() =>
        JsonDocument.Parse(File.ReadAllBytes(SharedFolder.Require("fixtures", "targeting", "lora_config_fields.json")));

    private static JsonObject Written(LoraOptions options) =>
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
