using DoraSharp.Transformers;
using static TorchSharp.torch;

namespace DoraSharp.Samples.Pretrain;

public class PretrainingTests
{
    [Fact]
    public void Run_FewSteps_WritesAFolderThatLoads()
    {
        using TemporaryFolder folder = new();
        using TextConsole console = new();
        Document[] documents = [.. Enumerable.Range(0, 400).Select(i => new Document("numbers", Sentences(i)))];

        int exitCode = Pretraining.Run(
            new PretrainOptions(new DirectoryInfo(folder.Path), Steps: 2, Seed: 1, Threads: get_num_threads()), TextSplit.HoldOut(documents, 0.05), console.Console);

        exitCode.Should().Be(0);
        Directory.GetFileSystemEntries(folder.Path).Select(Path.GetFileName).Should().BeEquivalentTo("config.json", "model.safetensors", "tokenizer.json", "PROVENANCE.md");
        using LlamaForCausalLM model = LlamaForCausalLM.Load(folder.Path, ScalarType.Float32);
        HuggingFaceTokenizer tokenizer = HuggingFaceTokenizer.Load(folder.Path);
        long[] ids = tokenizer.Encode("Number 7 is followed by 8.");
        ids.Should().OnlyContain(id => id < model.Config.VocabSize);
        tokenizer.Decode(model.Generate(ids, new GenerationOptions { MaxNewTokens = 3 })).Should().StartWith("Number 7 is followed by 8.");
        File.ReadAllText(Path.Combine(folder.Path, "PROVENANCE.md")).Should().Contain("--steps 2 --seed 1").And.Contain("| Held-out loss |");
    }

    [Theory]
    [InlineData(0, 1, "--steps 0 *")]
    [InlineData(-3, 1, "--steps -3 *")]
    [InlineData(1, 0, "--threads 0 *")]
    [InlineData(1, 100_000, "--threads 100000 *")]
    public void Options_NumberOutOfRange_AreRefused(int steps, int threads, string message)
    {
        Action create = () => _ = new PretrainOptions(new DirectoryInfo("model"), steps, Seed: 1, threads);

        create.Should().Throw<UserException>().WithMessage(message);
    }

    [Theory]
    [InlineData("model")]
    [InlineData("model/in/it")]
    public void Run_OutputIsAFile_IsRefusedAndTheFileKept(string output)
    {
        using TemporaryFolder folder = new();
        string file = folder.Write("model", "mine");

        Running(Path.Combine(folder.Path, output), []).Should().Throw<UserException>().WithMessage("--output *");
        File.ReadAllText(file).Should().Be("mine");
    }

    [Fact]
    public void Run_OutputThatCannotBeWritten_IsRefused()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "only Linux has a folder that not even root can write to");

        Running("/proc/self", []).Should().Throw<UserException>().WithMessage("--output /proc/self: *");
    }

    [Fact]
    public void Run_TrainingFails_LeavesTheFolderAsItWas()
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer.json", "old");

        Running(folder.Path, [new Document("short", "Too short to hold anything out.\n")]).Should().Throw<UserException>();
        Directory.GetFileSystemEntries(folder.Path).Select(Path.GetFileName).Should().Equal("tokenizer.json");
        File.ReadAllText(Path.Combine(folder.Path, "tokenizer.json")).Should().Be("old");
    }

    private static Action Running(string output, Document[] documents) => () =>
    {
        using TextConsole console = new();
        Pretraining.Run(new PretrainOptions(new DirectoryInfo(output), Steps: 1, Seed: 1, Threads: get_num_threads()), TextSplit.HoldOut(documents, 0.05), console.Console);
    };

    private static string Sentences(int number) =>
        string.Concat(Enumerable.Range(number, 40).Select(i => $"Number {i} is followed by {i + 1}.\n"));
}
