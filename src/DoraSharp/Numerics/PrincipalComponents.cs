using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The principal components of vectors x, from their scatter matrix Σ (x − mean)(x − mean)ᵀ, in float64.</summary>
/// <remarks>The tensors belong to the dispose scope of whoever asked for them.</remarks>
/// <param name="Directions">Orthonormal rows, the direction of the largest variance first, [k, n].</param>
/// <param name="Scatter">The part of the scatter along each direction, [k], descending: squared singular values of the centred vectors.</param>
internal sealed record PrincipalComponents(Tensor Directions, Tensor Scatter)
{
    /// <summary>A direction with less than this share of the largest scatter has none: it is what rounding leaves.</summary>
    private const double Negligible = 1e-12;

    /// <summary>The components along which the vectors vary; the others are left out.</summary>
    /// <param name="scatter">The scatter matrix, [n, n], symmetric.</param>
    public static PrincipalComponents Of(Tensor scatter)
    {
        (Tensor ascending, Tensor columns) = linalg.eigh(scatter.to(ScalarType.Float64));
        Tensor values = ascending.flip(0);
        long count = CountVarying(values);
        return new(columns.t().flip(0).narrow(0, 0, count), values.narrow(0, 0, count));
    }

    /// <summary>The share of each component in the whole scatter, descending; only of components along which the vectors vary.</summary>
    /// <param name="scatter">The scatter matrix, [n, n], symmetric.</param>
    public static double[] ExplainedVariance(Tensor scatter)
    {
        using var scope = NewDisposeScope();
        Tensor values = linalg.eigvalsh(scatter.to(ScalarType.Float64)).flip(0);
        return [.. (values / values.sum()).narrow(0, 0, CountVarying(values)).cpu().data<double>()];
    }

    private static long CountVarying(Tensor descending)
    {
        using var scope = NewDisposeScope();
        Tensor largest = descending.narrow(0, 0, 1).clamp(min: 0);
        return descending.gt(largest * Negligible).sum().item<long>();
    }
}
