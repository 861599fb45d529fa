using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>Before anything is timed, PEFT's algorithm and this library must have the same loss and the same gradients in the model.</summary>
internal static class LlamaAgreement
{
    private const double Tolerance = 1e-3;

    /// <exception cref="InvalidOperationException">They differ.</exception>
    public static void Require(LlamaSetting setting)
    {
        using var scope = NewDisposeScope();
        using TrainedLlama ours = LlamaMethods.Create(LlamaMethods.Dora, 0, setting);
        using TrainedLlama theirs = LlamaMethods.Create(LlamaMethods.PeftDora, 0, setting);
        double difference = Math.Abs(theirs.Backward() / ours.Backward() - 1);
        foreach ((Tensor expected, Tensor actual) in Gradients(ours).Zip(Gradients(theirs)))
        {
            difference = Math.Max(difference, ((actual - expected).norm() / expected.norm()).item<float>());
        }

        if (!(difference <= Tolerance))
        {
            throw new InvalidOperationException($"In the model {LlamaMethods.PeftDora} does not agree with {LlamaMethods.Dora}: relative difference {difference:g2}, allowed {Tolerance:g2}.");
        }
    }

    private static IEnumerable<Tensor> Gradients(TrainedLlama model) =>
        model.Trained.Select(parameter => parameter.grad ?? throw new InvalidOperationException("A backward pass left a parameter without a gradient."));
}
