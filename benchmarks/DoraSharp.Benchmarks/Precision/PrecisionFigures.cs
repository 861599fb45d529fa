using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>What a method makes of a <see cref="PrecisionProblem"/>.</summary>
/// <param name="Output">y [tokens, out].</param>
/// <param name="InputGradient">dX [tokens, in].</param>
/// <param name="AGradient">dA [r, in].</param>
/// <param name="BGradient">dB [out, r].</param>
/// <param name="MagnitudeGradient">dm [out].</param>
/// <param name="Norm">n [out].</param>
/// <param name="Merged">The merged weight [out, in].</param>
internal sealed record PrecisionFigures(Tensor Output, Tensor InputGradient, Tensor AGradient, Tensor BGradient, Tensor MagnitudeGradient, Tensor Norm, Tensor Merged)
{
    /// <summary>The names of the tensors, in order.</summary>
    public static IReadOnlyList<string> Names { get; } = ["y", "dX", "dA", "dB", "dm", "n", "merged W"];

    /// <summary>‖found − expected‖ / ‖expected‖ of each, in float64.</summary>
    public IReadOnlyList<double> ErrorsAgainst(PrecisionFigures expected)
    {
        using var scope = NewDisposeScope();
        return [.. Tensors().Zip(expected.Tensors(), static (found, exact) => ((found.to(ScalarType.Float64) - exact).norm() / exact.norm()).item<double>())];
    }

    private Tensor[] Tensors() => [Output, InputGradient, AGradient, BGradient, MagnitudeGradient, Norm, Merged];
}
