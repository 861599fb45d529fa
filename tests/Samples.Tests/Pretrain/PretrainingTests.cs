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
        Directory.GetFiles(folder.Path).Select(Path.GetFileName).Should().BeEquivalentTo("config.json", "model.safetensors", "tokenizer.json", "PROVENANCE.md");
        using LlamaForCausalLM model = LlamaForCausalLM.Load(folder.Path, ScalarType.Float32);
        HuggingFaceTokenizer tokenizer = HuggingFaceTokenizer.Load(folder.Path);
        long[] ids = tokenizer.Encode("Number 7 is followed by 8.");
        ids.Should().OnlyContain(id => id < model.Config.VocabSize);
        tokenizer.Decode(model.Generate(ids, new GenerationOptions { MaxNewTokens = 3 })).Should().StartWith("Number 7 is followed by 8.");
        File.ReadAllText(Path.Combine(folder.Path, "PROVENANCE.md")).Should().Contain("--steps 2 --seed 1").And.Contain("| Held-out loss |");
    }

    private static string Sentences(int number) =>
        string.Concat(Enumerable.Range(number, 40).Select(i => $"Number {i} is followed by {i + 1}.\n"));
}
