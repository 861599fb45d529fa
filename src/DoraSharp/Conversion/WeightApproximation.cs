using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The best LoRA factors for the change that an adapter, or another model, makes to a weight.</summary>
/// <param name="Factors">The factors of the change.</param>
/// <param name="Norm">‖W‖ of the original weight.</param>
/// <param name="Bias">s times the adapter's own bias [out], if it has one.</param>
internal sealed record WeightApproximation(LowRankApproximation Factors, double Norm, Tensor? Bias)
{
    public int Rank => Factors.Rank;

    /// <summary>Approximates a change of a weight.</summary>
    /// <param name="stack">The weight with its adapters.</param>
    /// <param name="adapterName">The adapter that is to become the approximation.</param>
    /// <param name="choice">How the rank is chosen.</param>
    /// <param name="changeOf">Gives the change [out, in] of the original weight [out, in], both in float64.</param>
    public static WeightApproximation Of(AdapterStack stack, string adapterName, RankChoice choice, Func<Tensor, Tensor> changeOf)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor matrix = stack.AdjustmentOf(adapterName)?.Base.OriginalMatrix() ?? stack.Weight.Dense();
        Tensor original = matrix.to(ScalarType.Float64);
        LowRankApproximation factors = LowRankApproximation.Of(changeOf(original), choice, original.norm().item<double>());
        factors.A.MoveToOuterDisposeScope();
        factors.B.MoveToOuterDisposeScope();
        return new(factors, original.norm().item<double>(), stack[adapterName].Bias?.MoveToOuterDisposeScope());
    }

    /// <summary>A new adapter with these factors, which are rounded to its dtype.</summary>
    /// <param name="options">Its options at the weight: a rank of at least the factors', which is filled up with zeros, and scaling 1.</param>
    /// <param name="stack">The weight with its adapters.</param>
    public LoraAdapter ToAdapter(LoraOptions options, AdapterStack stack)
    {
        using var noGrad = no_grad();
        ScalarType dtype = Adapter.ParameterType(stack.Weight.DType);
        long missing = options.Rank - Rank;
        using Tensor a = nn.functional.pad(Factors.A, [0, 0, 0, missing]);
        using Tensor b = nn.functional.pad(Factors.B, [0, missing]);
        LoraAdapter adapter = new(options, stack.Weight, stack.Geometry, InitialFactors.Of(a, b, dtype));
        if (Bias is not null)
        {
            adapter.BiasOfB!.copy_(Bias);
        }

        return adapter;
    }

    /// <summary>The rank and the errors.</summary>
    public ConvertedLayer Report(string path) => new(path, Rank, Norm > 0 ? Factors.FrobeniusError / Norm : Factors.FrobeniusError, Factors.RelativeError);
}
