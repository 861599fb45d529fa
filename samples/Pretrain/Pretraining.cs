using DoraSharp.Transformers;
using Spectre.Console;
using TorchSharp;
using TorchSharp.Modules;

namespace DoraSharp.Samples.Pretrain;

/// <summary>From documentation files to a Hugging Face folder: tokenizer, model, and how they came about.</summary>
public static class Pretraining
{
    private const string Separator = "<|endoftext|>";
    private const int VocabularySize = 2048;
    private const int WindowLength = 256;
    private const int HeldOutWindows = 128;

    /// <summary>Trains and writes the model; returns the exit code.</summary>
    /// <exception cref="UserException">The output folder can't be written to, or the text is too short.</exception>
    public static int Run(PretrainOptions options, TextSplit text, IAnsiConsole console)
    {
        using PendingFolder folder = new(options.Output);
        torch.set_num_threads(options.Threads);
        torch.manual_seed(options.Seed);

        TokenizerFile.Write(
            BytePairTrainer.Train(text.Training.Select(document => document.Text), VocabularySize, Separator),
            Path.Combine(folder.Path, "tokenizer.json"));
        HuggingFaceTokenizer tokenizer = HuggingFaceTokenizer.Load(folder.Path);
        TokenStream training = TokenStream.Encode(tokenizer, text.Training);
        using HeldOutText heldOut = new(TokenStream.Encode(tokenizer, text.HeldOut), HeldOutWindows, WindowLength);

        using LlamaForCausalLM model = new(Shape(VocabularySize));
        IReadOnlyList<Parameter> parameters = [.. model.parameters()];
        TrainingOptions recipe = Recipe(options);
        TrainingCurve curve = new TrainingDisplay(console).Show(
            "Pretraining", options.Steps, report => Trainer.Train(model, parameters, training, heldOut, recipe, report));

        model.Save(folder.Path, torch.ScalarType.BFloat16);
        using LlamaForCausalLM saved = LlamaForCausalLM.Load(folder.Path, torch.ScalarType.Float32);
        Provenance.Write(folder.Path, options, recipe, text, training, saved, curve, heldOut.Loss(saved));
        folder.Complete();
        console.WriteLine($"Held-out loss {curve.After:F3} after {curve.Duration:hh\\:mm\\:ss}; the model is in {options.Output.FullName}");
        return 0;
    }

    /// <summary>A Llama of 1.35 million parameters: small enough for a repository, large enough to write English sentences.</summary>
    private static LlamaConfig Shape(int vocabularySize) => new()
    {
        VocabSize = vocabularySize,
        HiddenSize = 128,
        IntermediateSize = 344,
        LayerCount = 6,
        HeadCount = 4,
        KeyValueHeadCount = 2,
        MaxPositions = 512,
        TieWordEmbeddings = true,
        BosTokenId = 0,
        EosTokenIds = [0],
    };

    private static TrainingOptions Recipe(PretrainOptions options) => new()
    {
        Steps = options.Steps,
        BatchSize = 4,
        WindowLength = WindowLength,
        LearningRate = 3e-3,
        Schedule = LearningRateSchedule.Cosine(warmup: Math.Min(100, options.Steps / 10), options.Steps, floor: 0.02),
        Seed = options.Seed,
        GradientNorm = 1,
        Evaluations = 10,
    };
}
