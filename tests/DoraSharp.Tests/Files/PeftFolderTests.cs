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
        LoraOptions options = new() { Rank = 4, Alpha = 6, UseDora = true, TargetModules = ["q"], TaskType = "CAUSAL_LM" };
        PeftFolder.Write(folder.Path, options, tensors, new PeftMetadata { BaseModelNameOrPath = "base" });

        using PeftFolder read = PeftFolder.Read(folder.Path);
        read.Options.Should().BeEquivalentTo(options);
        read.Metadata.BaseModelNameOrPath.Should().Be("base");
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
    [InlineData("base_model.model.emb.lora_embedding_B", "emb", "lora_embedding_B")]
    [InlineData("base_model.model.emb.token_adapter.trainable_tokens_delta", "emb", "token_adapter.trainable_tokens_delta")]
    [InlineData("base_model.model.fc.base_layer.bias", "fc", "base_layer.bias")]
    [InlineData("base_model.model.emb.base_layer.weight", "emb", "base_layer.weight")]
    [InlineData("base_model.model.mha.base_layer.out_proj.lora_A.weight", "mha.base_layer.out_proj", "lora_A.weight")]
    [InlineData("base_model.model.experts.base_layer.base_layer.lora_B.weight", "experts.base_layer.base_layer", "lora_B.weight")]
    [InlineData("base_model.model.lin.vera_lambda_b", "lin", "vera_lambda_b")]
    [InlineData("base_model.model.lin.vera_lambda_d", "lin", "vera_lambda_d")]
    [InlineData("base_model.vera_A", "", "vera_A")]
    [InlineData("vera_B", "", "vera_B")]
    [InlineData("base_model.model.vera_A", "vera_A", "")]
    [InlineData("base_model.model.x.vera_A", "x", "vera_A")]
    [InlineData("base_model.model.score.weight", "score", "weight")]
    [InlineData("base_model.model.norm.running_mean", "norm", "running_mean")]
    [InlineData("base_model.model.xlora_A.weight", "xlora_A", "weight")]
    [InlineData("base_model.model.blocks.0.lora_proj.lora_A.weight", "blocks.0.lora_proj", "lora_A.weight")]
    [InlineData("base_model.model.weight.lora_A.weight", "weight", "lora_A.weight")]
    [InlineData("base_model.model.base_model.model.q.lora_A.weight", "base_model.model.q", "lora_A.weight")]
    [InlineData("lora_A.weight", "lora_A", "weight")]
    [InlineData("base_model.model.lora_A.weight", "lora_A", "weight")]
    [InlineData("base_model.model.scale", "scale", "")]
    [InlineData("a.", "a.", "")]
    [InlineData(".a", ".a", "")]
    [InlineData("", "", "")]
    public void Split_AnyName_GivesPathAndPart(string name, string path, string part) =>
        PeftTensor.Split(name).Should().Be((path, part));

    [Theory]
    [InlineData("a.b", "a.b")]
    [InlineData("mha.base_layer.out_proj", "mha")]
    [InlineData("experts.base_layer.base_layer", "experts")]
    [InlineData("experts.base_layer", "experts")]
    public void Unwrapped_PathsWithPeftsWrappers_GivesTheModelsModule(string path, string expected) =>
        PeftTensor.Unwrapped(path).Should().Be(expected);

    [Fact]
    public void Read_NamesWithoutPrefix_AreAccepted()
    {
        string from = SharedFolder.Require("fixtures", "peft", "layout_no_prefix", "default");
        using PeftFolder read = PeftFolder.Read(from);
        read.Tensors.Select(tensor => (tensor.ModulePath, tensor.Part)).Should()
            .Equal(("lin", "lora_A.weight"), ("lin", "lora_B.weight"), ("lin", "lora_magnitude_vector"));
    }

    [Fact]
    public void ReadWrite_NamesWithoutPrefix_KeepsTheTensorsAndAddsIt()
    {
        string from = SharedFolder.Require("fixtures", "peft", "layout_no_prefix", "default");
        Copy(from, folder.Path);
        SameFile(from, folder.Path, "adapter_config.json").Should().BeTrue();
        LacksThePrefix(folder.File("adapter_model.safetensors")).Should().BeFalse();
        using PeftFolder before = PeftFolder.Read(from);
        using PeftFolder after = PeftFolder.Read(folder.Path);
        Identical(after.Tensors, [.. before.Tensors]);
    }

    [Fact]
    public void ReadWrite_BFloat16_StaysBFloat16()
    {
        string from = SharedFolder.Require("fixtures", "peft", "layout_bf16_file", "default");
        using PeftFolder read = PeftFolder.Read(from);
        read.Tensors.Should().OnlyContain(tensor => tensor.Value.dtype == ScalarType.BFloat16);
        PeftFolder.Write(folder.Path, read.Options, read.Tensors, read.Metadata);
        SameFiles(from, folder.Path);
    }

    [Fact]
    public void WriteRead_EveryPart_KeepsPathAndPart()
    {
        using IDisposable scope = NewDisposeScope();
        PeftTensor[] tensors =
        [
            .. PeftPart.OfModules.Select(part => new PeftTensor("a.weight.lora_A", part, rand(3, 2))),
            new("", PeftPart.ProjectionA, rand(4, 5)), new("", PeftPart.ProjectionB, rand(7, 4)),
            new("head", "weight", rand(2, 3)), new("norm", "num_batches_tracked", ones([], ScalarType.Int64)), new("root", "", rand(2)),
        ];
        PeftFolder.Write(folder.Path, new VeraOptions { TargetModules = ["lora_A"] }, tensors);
        using PeftFolder read = PeftFolder.Read(folder.Path);
        read.Options.Should().BeOfType<VeraOptions>();
        read.Tensors.Select(tensor => (tensor.ModulePath, tensor.Part)).Should().BeEquivalentTo(tensors.Select(tensor => (tensor.ModulePath, tensor.Part)));
        Identical(read.Tensors, tensors);
    }

    [Fact]
    public void Read_NoTargetModulesAgainSaved_StillHasNone()
    {
        using IDisposable scope = NewDisposeScope();
        PeftTensor[] tensors = [.. Pair("mha", 2), .. Pair("mha.base_layer.out_proj", 2), new("head", "weight", ones(2)), new("b", PeftPart.BaseBias, ones(2))];
        PeftFolder.Write(folder.Path, new LoraOptions(), tensors);
        File.WriteAllText(folder.File("adapter_config.json"), "{\n  \"peft_type\": \"LORA\",\n  \"r\": 2,\n  \"target_modules\": null\n}");
        Copy(folder.Path, folder.File("copy"));
        SameFiles(folder.Path, folder.File("copy"));
        using PeftFolder read = PeftFolder.Read(folder.Path);
        read.Options.TargetModules.Pattern.Should().Be("mha");
    }

    [Fact]
    public void Read_OnlyTargetParameters_AdaptsNoModules()
    {
        string from = SharedFolder.Require("fixtures", "peft", "param_two_on_one_module", "default");
        using PeftFolder read = PeftFolder.Read(from);
        read.Options.TargetModules.IsNone.Should().BeTrue();
        ((LoraOptions)read.Options).TargetParameters.Should().Equal("experts.up", "experts.down");
        read.Warnings.Should().BeEmpty();
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
    public void ReadWrite_EveryFolderOfPeft_GivesTheSameFiles()
    {
        string[] configs = [.. new[] { SharedFolder.Require("fixtures"), SharedFolder.Require("adapters") }
            .SelectMany(root => Directory.GetFiles(root, "adapter_config.json", SearchOption.AllDirectories))];
        configs.Length.Should().BeGreaterThan(300);
        long before = LiveTensors.Count;
        List<string> other = [];
        foreach (string from in configs.Select(static config => Path.GetDirectoryName(config)!))
        {
            Copy(from, folder.File("copy"));
            other.AddRange(TheTwoFiles.Where(name => !SameFile(from, folder.File("copy"), name)).Select(name => Path.Combine(from, name)));
        }

        // PEFT would not find tensors without its prefix, so they get it.
        other.RemoveAll(LacksThePrefix).Should().Be(1);
        other.Should().BeEmpty();
        LiveTensors.Count.Should().Be(before);
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

    private static void Copy(string from, string to)
    {
        using PeftFolder read = PeftFolder.Read(from);
        PeftFolder.Write(to, read.Options, read.Tensors.Reverse(), read.Metadata);
    }

    private static void SameFiles(string from, string to) => TheTwoFiles.Should().OnlyContain(name => SameFile(from, to, name));

    private static bool LacksThePrefix(string path)
    {
        if (!path.EndsWith("safetensors", StringComparison.Ordinal))
        {
            return false;
        }

        using SafetensorsReader reader = SafetensorsReader.Open(path);
        return reader.Entries.All(static entry => !entry.Name.StartsWith("base_model.", StringComparison.Ordinal));
    }

    private static bool SameFile(string from, string to, string name) =>
        File.ReadAllBytes(Path.Combine(from, name)).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(to, name)));

    private void Refused<T>(string message)
        where T : Exception =>
        ((Action)(() => PeftFolder.Read(folder.Path).Dispose())).Should().Throw<T>().WithMessage(message);
}
