using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>How far a stored matrix is from an exact one, gathered block by block.</summary>
internal sealed class WeightError
{
    private double squaredError;
    private double squaredNorm;

    /// <summary>‖stored − exact‖/‖exact‖; without a norm to compare with, ‖stored − exact‖.</summary>
    public double Relative => Math.Sqrt(squaredNorm > 0 ? squaredError / squaredNorm : squaredError);

    /// <summary>The largest |stored − exact|.</summary>
    public double Max { get; private set; }

    /// <summary>Adds a block.</summary>
    /// <param name="stored">What is stored.</param>
    /// <param name="exact">What it stands for, in float64 or float32.</param>
    public void Add(Tensor stored, Tensor exact)
    {
        if (exact.numel() == 0)
        {
            return;
        }

        using var scope = NewDisposeScope();
        Tensor reference = exact.to(ScalarType.Float64);
        Tensor difference = stored.to(ScalarType.Float64) - reference;
        squaredNorm += reference.square().sum().item<double>();
        squaredError += difference.square().sum().item<double>();
        Max = Math.Max(Max, difference.abs_().max().item<double>());
    }
}
