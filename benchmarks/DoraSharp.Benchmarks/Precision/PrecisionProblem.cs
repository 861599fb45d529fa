using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>A frozen linear layer with a trained DoRA adapter, an input and an output gradient, all random.</summary>
/// <param name="DType">The dtype of W, x and the output gradient.</param>
/// <param name="Inputs">The input features.</param>
/// <param name="Outputs">The output features.</param>
/// <param name="Rank">r.</param>
internal sealed record PrecisionProblem(ScalarType DType, long Inputs, long Outputs, int Rank) : IDisposable
{
    private const int Tokens = 256;

    /// <summary>s.</summary>
    public const double Scaling = 2;

    /// <summary>W [out, in], as a linear layer starts: ±1/√in.</summary>
    public Tensor Weight { get; } = Owned((2 * rand(Outputs, Inputs, dtype: ScalarType.Float64) - 1) / Math.Sqrt(Inputs), DType);

    /// <summary>x [tokens, in].</summary>
    public Tensor Input { get; } = Owned(randn(Tokens, Inputs, dtype: ScalarType.Float64), DType);

    /// <summary>dY [tokens, out].</summary>
    public Tensor Gradient { get; } = Owned(randn(Tokens, Outputs, dtype: ScalarType.Float64), DType);

    /// <summary>A [r, in], float32.</summary>
    public Tensor A { get; } = Owned((2 * rand(Rank, Inputs, dtype: ScalarType.Float64) - 1) / Math.Sqrt(Inputs), ScalarType.Float32);

    /// <summary>B [out, r], float32: an update of a tenth of W's size or so.</summary>
    public Tensor B { get; } = Owned(randn(Outputs, Rank, dtype: ScalarType.Float64) * .02, ScalarType.Float32);

    /// <summary>m [out], float32: the norm, moved by up to 5 %.</summary>
    public Tensor Magnitude { get; } = Owned((1 + (.1 * (rand(Outputs, dtype: ScalarType.Float64) - .5))) / Math.Sqrt(3), ScalarType.Float32);

    public void Dispose()
    {
        foreach (Tensor tensor in new[] { Weight, Input, Gradient, A, B, Magnitude })
        {
            tensor.Dispose();
        }
    }

    private static Tensor Owned(Tensor values, ScalarType dtype)
    {
        using (values)
        {
            return values.to(dtype, copy: true).DetachFromDisposeScope();
        }
    }
}
