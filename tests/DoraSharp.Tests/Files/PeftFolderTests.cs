using System.Text.Json;
using System.Text.Json.Nodes;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Files;

public sealed class PeftFolderTests : IDisposable
{
    private static readonly string[] TheTwoFiles = ["adapter_config.json", "adapter_model.safetensors"];

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void WriteRead_DoraAdapter_GivesTheSameBack()
    {
        using IDisposable scope = NewDisposeScope();
        PeftTensor[] tensors =
        [
            new("layers.0.q", "lora_A.weight", randn(4, 6)),
            new("layers.0.q", "lora_B.weight", randn(5, 4, dtype: ScalarType.BFloat16)),
            new("layers.0.q", "lora_magnitude_vector", rand(5)),
        ];
        LoraOptions options = new() { Rank = 4, Alpha = 6, UseDora = true, TargetModules = ["q"] };
        PeftFolder.Write(folder.Path, options, tensors, new PeftMetadata { BaseModelNameOrPath = "base", TaskType = "CAUSAL_LM" });

        using PeftFolder read = PeftFolder.Read(folder.Path);
        read.Options.Should().Be(options with { RankPattern = read.Options.RankPattern, AlphaPattern = read.Options.AlphaPattern });
        read.Metadata.BaseModelNameOrPath.Should().Be("base");
        read.Metadata.TaskType.Should().Be("CAUSAL_LM");
        read.Warnings.Should().BeEmpty();
        Identical(read.Tensors, tensors);
        FilesIn(folder.Path).Should().Equal(TheTwoFiles);
        using SafetensorsReader file = SafetensorsReader.Open(folder.File("adapter_model.safetensors"));
        file.Metadata.Should().Equal(new Dictionary<string, string> { ["format"] = "pt" });
        file.Entries.Select(entry => entry.Name).Should().Equal(
            "base_model.model.layers.0.q.lora_A.weight", "base_model.model.layers.0.q.lora_magnitude_vector", "base_model.model.layers.0.q.lora_B.weight");
    }

    [Fact]
    public void WriteRead_NamedAdapters_LieInSubfolders()
    {
        using IDisposable scope = NewDisposeScope();
        string target = folder.File("saved");
        PeftFolder.Write(target, new LoraOptions { Rank = 1 }, Pair("q", 1));
        PeftFolder.Write(target, new LoraOptions { Rank = 2 }, Pair("q", 2), adapterName: "style_a");

        FilesIn(target).Should().Equal(TheTwoFiles);
        FilesIn(Path.Combine(target, "style_a")).Should().Equal(TheTwoFiles);
        using PeftFolder first = PeftFolder.Read(target);
        using PeftFolder second = PeftFolder.Read(target, "style_a");
        first.Options.Rank.Should().Be(1);
        second.Options.Rank.Should().Be(2);
        second.Path.Should().Be(Path.Combine(target, "style_a"));
        ((Action)(() => PeftFolder.Read(target, "other"))).Should().Throw<DirectoryNotFoundException>().WithMessage("*other*has the adapters style_a.");
    }

    [Theory]
    [InlineData("base_model.model.a.b.lora_A.weight", "a.b", "lora_A.weight")]
    [InlineData("a.b.lora_B.weight", "a.b", "lora_B.weight")]
    [InlineData("base_model.model.lora_A.lora_magnitude_vector", "lora_A", "lora_magnitude_vector")]
    [InlineData("base_model.model.default.lora_B.bias", "default", "lora_B.bias")]
    [InlineData("base_model.model.emb.lora_embedding_A", "emb", "lora_embedding_A")]
    [InlineData("base_model.model.score.weight", "score.weight", "")]
    [InlineData("base_model.model.xlora_A.weight", "xlora_A.weight", "")]
    [InlineData("lora_A.weight", "lora_A.weight", "")]
    [InlineData("base_model.model.lora_A.weight", "lora_A.weight", "")]
    [InlineData("", "", "")]
    public void Split_AnyName_GivesPathAndPart(string name, string path, string part) =>
        PeftTensor.Split(name).Should().Be((path, part));

    [Fact]
    public void Read_NamesWithoutPrefix_AreAccepted()
    {
        string from = SharedFolder.Require("fixtures", "peft", "layout_no_prefix", "default");
        using PeftFolder read = PeftFolder.Read(from);
        read.Tensors.Select(tensor => (tensor.ModulePath, tensor.Part)).Should()
            .Equal(("lin", "lora_A.weight"), ("lin", "lora_B.weight"), ("lin", "lora_magnitude_vector"));
    }

    [Fact]
    public void Read_NoTargetModules_TakesExactlyTheModulesWithTensors()
    {
        using IDisposable scope = NewDisposeScope();
        PeftFolder.Write(folder.Path, new LoraOptions(), [.. Pair("a.q", 2), .. Pair("b", 2)]);
        File.WriteAllText(folder.File("adapter_config.json"), """{"peft_type":"LORA","r":2}""");

        using PeftFolder read = PeftFolder.Read(folder.Path);
        read.Options.TargetModules.Pattern.Should().Be(@"a\.q|b");
        read.Warnings.Should().ContainSingle().Which.Should().Contain("no target_modules");
    }

    [Fact]
    public void Read_NeitherTargetModulesNorAdapterTensors_IsRefused()
    {
        using IDisposable scope = NewDisposeScope();
        PeftFolder.Write(folder.Path, new LoraOptions(), [new("score.weight", "", ones(2))]);
        File.WriteAllText(folder.File("adapter_config.json"), """{"peft_type":"LORA","target_modules":[]}""");
        Refused<InvalidDataException>("*adapter_config.json*target_modules*");
    }

    [Fact]
    public void Read_UnknownFields_WarnAndSurviveARoundTrip()
    {
        string from = SharedFolder.Require("fixtures", "peft", "layout_unknown_config_keys", "default");
        using PeftFolder read = PeftFolder.Read(from);
        read.Warnings.Should().HaveCount(2).And.Contain(warning => warning.Contains("'future_option'")).And.Contain(warning => warning.Contains("'use_something_new'"));

        PeftFolder.Write(folder.Path, read.Options, read.Tensors, read.Metadata);
        SameFiles(from, folder.Path);
    }

    [Fact]
    public void ReadWrite_EveryFolderOfPeft_IsRefusedByNameOrGivesTheSameFiles()
    {
        string[] configs = [.. new[] { SharedFolder.Require("fixtures", "peft"), SharedFolder.Require("adapters") }
            .SelectMany(root => Directory.GetFiles(root, "adapter_config.json", SearchOption.AllDirectories))];
        long before = LiveTensors.Count;
        int same = 0;
        foreach (string config in configs)
        {
            string from = Path.GetDirectoryName(config)!;
            string[] unsupported = Unsupported(config);
            if (unsupported.Length > 0)
            {
                ((Action)(() => PeftFolder.Read(from))).Should().Throw<InvalidDataException>().WithMessage($"*{config}*{unsupported[0]} is *");
                continue;
            }

            string to = folder.File($"copy{same++}");
            using PeftFolder read = PeftFolder.Read(from);
            PeftFolder.Write(to, read.Options, read.Tensors, read.Metadata);
            SameFiles(from, to);
        }

        LiveTensors.Count.Should().Be(before);
        same.Should().BeGreaterThan(150);
        (configs.Length - same).Should().BeGreaterThan(20);
    }

    [Fact]
    public void Read_MissingFilesAndFolders_SayWhich()
    {
        using IDisposable scope = NewDisposeScope();
        ((Action)(() => PeftFolder.Read(folder.File("none")))).Should().Throw<DirectoryNotFoundException>().WithMessage("*none*");
        Refused<FileNotFoundException>("*adapter_config.json*");
        PeftFolder.Write(folder.Path, new LoraOptions(), Pair("q", 8), adapterName: "sub");
        Refused<FileNotFoundException>("*adapter_config.json*has the adapters sub.");
        File.WriteAllText(folder.File("adapter_config.json"), """{"peft_type":"LORA"}""");
        Refused<FileNotFoundException>("*adapter_model.safetensors*");
        File.WriteAllText(folder.File("adapter_model.bin"), "");
        Refused<FileNotFoundException>("*adapter_model.bin*pickles*not read*save_file*");
        ((Action)(() => PeftFolder.Read(folder.File("adapter_model.bin")))).Should().Throw<DirectoryNotFoundException>().WithMessage("*is a file*");
        ((Action)(() => PeftFolder.Read(folder.Path, "../sub"))).Should().Throw<ArgumentException>();
    }

    [Fact]
    public void Read_DamagedTensors_AreRefusedWithoutALeak()
    {
        using IDisposable scope = NewDisposeScope();
        PeftFolder.Write(folder.Path, new LoraOptions(), Pair("q", 8));
        string path = folder.File("adapter_model.safetensors");
        long before = LiveTensors.Count;

        File.WriteAllBytes(path, File.ReadAllBytes(path)[..^1]);
        Refused<InvalidDataException>("*adapter_model.safetensors*");
        SafetensorsWriter.Write(path, [new("q.lora_A.weight", ones(1)), new("base_model.model.q.lora_A.weight", ones(1))]);
        Refused<InvalidDataException>("*adapter_model.safetensors*'q.lora_A.weight' twice*");
        SafetensorsWriter.Write(path, [new("q.lora_A.weight", ones(1, ScalarType.Int64))]);
        Refused<InvalidDataException>("*adapter_model.safetensors*'q.lora_A.weight' is Int64*");
        byte[] bytes = SafetensorsBytes.Create("""{"q.lora_A.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"m":{"dtype":"BOOL","shape":[1],"data_offsets":[4,5]}}""", 0, 0, 0, 0, 2);
        File.WriteAllBytes(path, bytes);
        before = LiveTensors.Count;
        Refused<InvalidDataException>("*adapter_model.safetensors*'m'*");
        LiveTensors.Count.Should().Be(before);
    }

    [Fact]
    public void Dispose_AfterManyReads_LeavesNoTensors()
    {
        using IDisposable scope = NewDisposeScope();
        PeftFolder.Write(folder.Path, new LoraOptions(), Pair("q", 8));
        long before = LiveTensors.Count;
        for (int i = 0; i < 50; i++)
        {
            using PeftFolder read = PeftFolder.Read(folder.Path, device: CPU);
            LiveTensors.Count.Should().Be(before + 2);
        }

        LiveTensors.Count.Should().Be(before);
    }

    [Fact]
    public void Write_WhatCannotBeWritten_LeavesTheFolderAsItWas()
    {
        using IDisposable scope = NewDisposeScope();
        ((Action)(() => PeftFolder.Write(folder.File("new"), new LoraOptions(), []))).Should().Throw<ArgumentException>().WithMessage("*at least one tensor*");
        Directory.Exists(folder.File("new")).Should().BeFalse();

        PeftFolder.Write(folder.Path, new LoraOptions { Rank = 8 }, Pair("q", 8));
        byte[][] before = [.. TheTwoFiles.Select(name => File.ReadAllBytes(folder.File(name)))];
        PeftTensor[] twice = [.. Pair("q", 4), .. Pair("q", 4)];
        ((Action)(() => PeftFolder.Write(folder.Path, new LoraOptions { Rank = 4 }, twice))).Should().Throw<ArgumentException>().WithMessage("*given twice*");
        ((Action)(() => PeftFolder.Write(folder.Path, new LoraOptions(), Pair("q", 4), adapterName: "a/b"))).Should().Throw<ArgumentException>();
        ((Action)(() => PeftFolder.Write(folder.File("adapter_config.json"), new LoraOptions(), Pair("q", 4)))).Should().Throw<IOException>().WithMessage("*is a file*");
        TheTwoFiles.Select(name => File.ReadAllBytes(folder.File(name))).Should().BeEquivalentTo(before);
        FilesIn(folder.Path).Should().Equal(TheTwoFiles);
    }

    [Fact]
    public void Write_ConfigurationCannotBePlaced_LeavesTheTensorsAsTheyWere()
    {
        using IDisposable scope = NewDisposeScope();
        Directory.CreateDirectory(folder.File("adapter_config.json"));
        File.WriteAllText(folder.File("adapter_model.safetensors"), "old");
        ((Action)(() => PeftFolder.Write(folder.Path, new LoraOptions(), Pair("q", 4)))).Should().Throw<IOException>().WithMessage("*adapter_config.json*is a folder*");
        File.ReadAllText(folder.File("adapter_model.safetensors")).Should().Be("old");
        FilesIn(folder.Path).Should().Equal("adapter_model.safetensors");
    }

    private static string[] FilesIn(string path) => [.. Directory.GetFiles(path).Select(Path.GetFileName).Order(StringComparer.Ordinal)!];

    private static PeftTensor[] Pair(string path, int rank) =>
        [new(path, "lora_A.weight", ones(rank, 3)), new(path, "lora_B.weight", zeros(5, rank))];

    private static void Identical(IReadOnlyList<PeftTensor> actual, PeftTensor[] expected)
    {
        actual.Should().HaveCount(expected.Length);
        foreach (PeftTensor tensor in expected)
        {
            Tensor value = actual.Single(other => other.Name == tensor.Name).Value;
            value.dtype.Should().Be(tensor.Value.dtype);
            value.shape.Should().Equal(tensor.Value.shape);
            value.bytes.SequenceEqual(tensor.Value.bytes).Should().BeTrue(tensor.Name);
        }
    }

    private static void SameFiles(string from, string to)
    {
        string[] names = [from, to];
        byte[][] tensors = [.. names.Select(name => File.ReadAllBytes(Path.Combine(name, "adapter_model.safetensors")))];
        if (!from.Contains("layout_no_prefix", StringComparison.Ordinal))
        {
            tensors[0].AsSpan().SequenceEqual(tensors[1]).Should().BeTrue(from);
        }

        // Fields that a file of an older version lacks are written with their defaults; all others must be the same.
        string[] texts = [.. names.Select(name => File.ReadAllText(Path.Combine(name, "adapter_config.json")))];
        JsonObject[] configs = [.. texts.Select(text => JsonNode.Parse(text)!.AsObject())];
        foreach ((string field, JsonNode? value) in configs[0])
        {
            JsonNode.DeepEquals(value, configs[1][field]).Should().BeTrue($"{field} of {from}");
        }

        if (configs[0].Count == configs[1].Count && !texts[0].Contains("4.0", StringComparison.Ordinal))
        {
            texts[1].Should().Be(texts[0]);
        }
    }

    // Told from the file alone: the fields that the library must refuse.
    private static string[] Unsupported(string config)
    {
        using JsonDocument fields = JsonDocument.Parse(File.ReadAllBytes(SharedFolder.Require("fixtures", "targeting", "lora_config_fields.json")));
        Dictionary<string, JsonElement> defaults = fields.RootElement.GetProperty("fields").EnumerateArray()
            .ToDictionary(field => field.GetProperty("name").GetString()!, field => field.GetProperty("default"));
        string[] supported =
        [
            "r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "target_modules", "exclude_modules", "rank_pattern", "alpha_pattern",
            "init_lora_weights", "task_type", "base_model_name_or_path", "revision", "inference_mode", "auto_mapping", "peft_version",
        ];
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(config));
        return
        [
            .. document.RootElement.EnumerateObject()
                .Where(field => field.Name == "peft_type"
                    ? field.Value.GetString() != "LORA"
                    : defaults.TryGetValue(field.Name, out JsonElement value) && !supported.Contains(field.Name) && !JsonElement.DeepEquals(field.Value, value))
                .Select(field => field.Name)
                .OrderByDescending(name => name == "peft_type"),
        ];
    }

    private void Refused<T>(string message)
        where T : Exception =>
        ((Action)(() => PeftFolder.Read(folder.Path).Dispose())).Should().Throw<T>().WithMessage(message);
}
