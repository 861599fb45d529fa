using System.Globalization;
using System.Runtime.InteropServices;
using DoraSharp.Transformers;
using TorchSharp;

namespace DoraSharp.Samples.Pretrain;

/// <summary>Writes down where a model comes from.</summary>
public static class Provenance
{
    /// <summary>Writes <c>PROVENANCE.md</c> into the model's folder.</summary>
    public static void Write(
        string folder,
        PretrainOptions options,
        TrainingOptions recipe,
        TextSplit text,
        TokenStream training,
        LlamaForCausalLM model,
        TrainingCurve curve,
        double savedLoss)
    {
        const int last = 100;
        LlamaConfig shape = model.Config;
        string command = "dotnet run -c Release --project samples/Pretrain -- "
            + $"--steps {options.Steps} --seed {options.Seed} --threads {options.Threads}";
        string page = string.Create(CultureInfo.InvariantCulture, $"""
            # Where this model comes from

            Written by `samples/Pretrain` of this repository when it had trained the model.

            | | |
            |---|---|
            | Data | XML documentation of the `System.*` assemblies in `{PretrainingText.Pack}` of the .NET SDK (not `System.Runtime.Intrinsics`): {text.Training.Count + text.HeldOut.Count:N0} types, {Characters(text.Training):N0} characters to train on, {Characters(text.HeldOut):N0} held out |
            | Runtime | {RuntimeInformation.FrameworkDescription}, TorchSharp {typeof(torch).Assembly.GetName().Version} |
            | Command | `{command}` |
            | Seed | {options.Seed} |
            | Shape | Llama, {model.parameters().Sum(parameter => parameter.numel()):N0} parameters: {shape.LayerCount} layers, width {shape.HiddenSize}, MLP {shape.IntermediateSize}, {shape.HeadCount} heads, {shape.KeyValueHeadCount} key-value heads, vocabulary {shape.VocabSize} (byte-level BPE, learned from the same text), tied head; stored in bfloat16 |
            | Recipe | {recipe.Steps:N0} steps of {recipe.BatchSize} × {recipe.WindowLength} tokens ({(double)recipe.Steps * recipe.BatchSize * recipe.WindowLength / training.Length:F1} epochs of {training.Length:N0} tokens), AdamW, learning rate {recipe.LearningRate}, warm-up, then a cosine, gradient norm {recipe.GradientNorm} |
            | Training loss | {curve.Training.TakeLast(last).Average():F4} (mean of the last {Math.Min(last, curve.Training.Count)} steps) |
            | Held-out loss | {curve.After:F4} nats per token as trained, {savedLoss:F4} as stored |
            | Duration | {curve.Duration:hh\:mm\:ss} on {options.Threads} threads |

            """);
        File.WriteAllText(Path.Combine(folder, "PROVENANCE.md"), page);
    }

    private static long Characters(IEnumerable<Document> documents) => documents.Sum(document => (long)document.Text.Length);
}
