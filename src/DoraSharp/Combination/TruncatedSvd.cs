using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The closest matrix of a given rank, as factors: B = U·diag(S), A = Vᵀ (Eckart and Young).</summary>
internal static class TruncatedSvd
{
    /// <summary>Of a dense matrix [out, in].</summary>
    /// <returns>A [k, in] and B [out, k] with k = min(rank, out, in).</returns>
    public static (Tensor A, Tensor B) OfMatrix(Tensor matrix, int rank)
    {
        (Tensor u, Tensor s, Tensor vh) = linalg.svd(matrix, fullMatrices: false);
        long k = Math.Min(rank, s.shape[0]);
        return (vh.narrow(0, 0, k), u.narrow(1, 0, k) * s.narrow(0, 0, k));
    }

    /// <summary>Of a product B·A, through the factors: the cost is that of a matrix of their rank, not of [out, in].</summary>
    /// <param name="a">A [r, in].</param>
    /// <param name="b">B [out, r].</param>
    /// <param name="rank">The rank to cut to.</param>
    /// <returns>A [k, in] and B [out, k] with k = min(rank, r, out, in).</returns>
    public static (Tensor A, Tensor B) OfProduct(Tensor a, Tensor b, int rank)
    {
        (Tensor left, Tensor leftCore) = linalg.qr(b);
        (Tensor right, Tensor rightCore) = linalg.qr(a.t());
        (Tensor coreA, Tensor coreB) = OfMatrix(leftCore.matmul(rightCore.t()), rank);
        return (coreA.matmul(right.t()), left.matmul(coreB));
    }

    /// <summary>Limits the elements of both factors to a quantile of theirs, taken with both signs.</summary>
    public static (Tensor A, Tensor B) Clamp(Tensor a, Tensor b, double quantile)
    {
        // The quantile q of a distribution with both signs is the quantile 2q - 1 of its absolute values.
        Tensor sizes = cat([a.reshape(-1), b.reshape(-1)], dim: 0).abs_().sort(dim: 0).Values;
        double place = ((2 * quantile) - 1) * (sizes.shape[0] - 1);
        long below = (long)place;
        double low = sizes[below].item<double>();
        double high = sizes[Math.Min(below + 1, sizes.shape[0] - 1)].item<double>();
        double limit = low + ((place - below) * (high - low));
        return (a.clamp(-limit, limit), b.clamp(-limit, limit));
    }
}
