using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>Before anything is timed, PEFT's algorithm and checkpointed DoRA must have DoRA's loss and gradients in the model.</summary>
internal static class LlamaAgreement
{
    private const double Tolerance = 1e-3;

    /// <exception cref="InvalidOperationException">They differ.</exception>
    public static void Require(LlamaSetting setting)
    {
        using var scope = NewDisposeScope();
        using TrainedLlama ours = LlamaMethods.Create(LlamaMethods.Dora, 0, setting);
        double loss = ours.Backward();
        foreach (string method in new[] { LlamaMethods.PeftDora, LlamaMethods.CheckpointedDora })
        {
            using TrainedLlama other = LlamaMethods.Create(method, 0, setting);
            double difference = Math.Abs((other.Backward() / loss) - 1);
            foreach ((Tensor expected, Tensor actual) in Gradients(ours).Zip(Gradients(other)))
            {
                difference = Math.Max(difference, ((actual - expected).norm() / expected.norm()).item<float>());
            }

            if (!(difference <= Tolerance))
            {
                throw new InvalidOperationException($"In the model {method} does not agree with {LlamaMethods.Dora}: relative difference {difference:g2}, allowed {Tolerance:g2}.");
            }
        }
    }

    private static IEnumerable<Tensor> Gradients(TrainedLlama model) =>
        model.Trained.Select(parameter => parameter.grad ?? throw new InvalidOperationException("A backward pass left a parameter without a gradient."));
}
