using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// LoRA-GA (arXiv 2407.05000): A and B are singular vectors of the weight's gradient, so that the adapter's first step
/// goes where a step of the whole weight would; the base becomes W − s·B·A. PEFT: <c>init_lora_weights="lora_ga"</c>.
/// </summary>
/// <remarks>As in PEFT, B's vectors are times the gradient's singular values before they are scaled.</remarks>
internal static class LoraGaInitializer
{
    /// <summary>Decomposes the gradient.</summary>
    /// <param name="weight">W [out, in].</param>
    /// <param name="gradient">The loss's gradient to W, [out, in].</param>
    /// <param name="rank">r, at most min(out, in)/2.</param>
    /// <param name="scaling">s, not 0.</param>
    /// <param name="options">Which vectors, and how they are scaled.</param>
    /// <param name="dtype">The factors' dtype.</param>
    /// <param name="generator">The source of random numbers for <see cref="LoraGaDirection.Random"/>; TorchSharp's default one if there is none.</param>
    /// <exception cref="ArgumentException">The gradient does not fit W, or is zero.</exception>
    public static InitialFactors Create(
        Tensor weight, Tensor gradient, int rank, double scaling, LoraGaOptions options, ScalarType dtype, Generator? generator = null)
    {
        InitialFactors.CheckRank(weight, 2L * rank, "LoRA-GA");
        if (!gradient.shape.SequenceEqual(weight.shape))
        {
            throw new ArgumentException($"The gradient of a weight [{weight.shape[0]}, {weight.shape[1]}] cannot have the shape [{string.Join(", ", gradient.shape)}].", nameof(gradient));
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        SingularTriples triples = SingularTriples.Of(gradient).Slice(0, 2L * rank);
        if (triples.S[0].item<double>() == 0)
        {
            throw new ArgumentException("The weight's gradient is zero: the loss does not depend on it. Give data that reach the layer, or exclude it.", nameof(gradient));
        }

        (Tensor rowsOfA, Tensor columnsOfB) = Choose(options.Direction, rank, generator);
        rowsOfA = rowsOfA.to(weight.device);
        columnsOfB = columnsOfB.to(weight.device);
        Tensor singular = triples.S.index_select(0, columnsOfB);
        Tensor a = triples.Vt.index_select(0, rowsOfA);
        Tensor b = triples.U.index_select(1, columnsOfB) * singular;
        switch (options.Scale)
        {
            case LoraGaScale.Stable:
                b = b * (Math.Pow(weight.shape[0], 0.25) / Math.Sqrt(options.StableGamma));
                break;
            case LoraGaScale.WeightSvd:
                b = b * (linalg.svdvals(weight.detach().to(ScalarType.Float64))[0] / singular[0]);
                break;
            case LoraGaScale.GradientDescent when scaling == 0:
                throw new ArgumentOutOfRangeException(nameof(scaling), scaling, "This scale divides by the scaling; set an alpha that is not 0.");
            case LoraGaScale.GradientDescent:
                a = a / scaling;
                b = b / scaling;
                break;
            default:
                break;
        }

        return InitialFactors.TakenFrom(weight, a, b, scaling, dtype).MoveToOuterDisposeScope();
    }

    /// <summary>The indices, among the leading 2r triples, of A's and of B's vectors.</summary>
    private static (Tensor RowsOfA, Tensor ColumnsOfB) Choose(LoraGaDirection direction, long rank, Generator? generator)
    {
        switch (direction)
        {
            case LoraGaDirection.ArB2r:
                return (arange(0, rank), arange(rank, 2 * rank));
            case LoraGaDirection.A2rBr:
                return (arange(rank, 2 * rank), arange(0, rank));
            case LoraGaDirection.ArBr:
                return (arange(1, 2 * rank, 2), arange(0, 2 * rank, 2));
            default:
                Tensor chosen = randperm(2 * rank, generator: generator).narrow(0, 0, rank);
                return (chosen, chosen);
        }
    }
}
