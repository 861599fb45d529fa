using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>How far a stored matrix is from an exact one, gathered block by block.</summary>
internal sealed class WeightError
{
    /// <summary>The scratch that decoded rows may take, in elements.</summary>
    private const long BlockElements = 1 << 20;

    private double squaredError;
    private double squaredNorm;

    /// <summary>‖stored − exact‖/‖exact‖; without a norm to compare with, ‖stored − exact‖.</summary>
    public double Relative => Math.Sqrt(squaredNorm > 0 ? squaredError / squaredNorm : squaredError);

    /// <summary>‖exact‖.</summary>
    public double Norm => Math.Sqrt(squaredNorm);

    /// <summary>The largest |stored − exact|.</summary>
    public double Max { get; private set; }

    /// <summary>That of a quantized matrix, decoded in float32.</summary>
    /// <param name="stored">The quantized matrix [out, in].</param>
    /// <param name="exact">What it stands for.</param>
    public static WeightError Of(QuantizedTensor stored, Tensor exact)
    {
        using var noGrad = no_grad();
        WeightError error = new();
        (long outputs, long inputs) = (exact.shape[0], exact.shape[1]);
        long step = Math.Clamp(BlockElements / inputs, 1, outputs);
        for (long first = 0; first < outputs; first += step)
        {
            using var scope = NewDisposeScope();
            Tensor rows = empty([Math.Min(step, outputs - first), inputs], ScalarType.Float32, exact.device);
            stored.DequantizeRows(first, rows.shape[0], rows);
            error.Add(rows, exact.narrow(0, first, rows.shape[0]));
        }

        return error;
    }

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
