using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The row norms n = ‖W + s·B·A‖ from the factors, without a dense B·A.</summary>
/// <remarks>
/// n² = ‖W‖² + 2s·rowsum(B ⊙ W Aᵀ) + s²·rowsum(B (A Aᵀ) ⊙ B), the expansion of arXiv 2603.22276. The sum is kept in
/// float64, so that rows of any magnitude that float32 can hold come out right. Where the update nearly cancels a
/// row, the expansion would lose digits: such rows are recomputed from V itself. Off the CPU all rows are computed from V in float32,
/// by blocks: that is as many multiplications, in a few large operations and without waiting for the device to say what is cancelled.
/// </remarks>
internal static class RowNorms
{
    /// <summary>
    /// Below this share of ‖w‖·Σ|s·b_k|·‖a_k‖ a row's n² counts as cancelled: that is the size of which the float32
    /// product W Aᵀ loses about 6e-8, so that n stays exact to 1e-6.
    /// </summary>
    private const double Cancellation = 0.06;

    /// <summary>n [out] in A's dtype; no gradient flows through it.</summary>
    /// <param name="weight">W [out, in].</param>
    /// <param name="a">A [r, in].</param>
    /// <param name="b">B [out, r].</param>
    /// <param name="scaling">s.</param>
    public static Tensor OfUpdated(FrozenWeight weight, Tensor a, Tensor b, double scaling)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        if (a.dtype == ScalarType.Float32 && a.device_type != DeviceType.CPU)
        {
            return weight.ByRowBlocks(a.dtype, (rows, first) => Directly(rows, a, b.narrow(0, first, rows.shape[0]), scaling)).MoveToOuterDisposeScope();
        }

        Tensor squaredWeight = weight.SquaredRowNorms();
        Tensor cross = weight.Project(a);
        Tensor norms;
        Tensor cancelled;
        if (FloatMemory.Serves(cross) && FloatMemory.Serves(a) && FloatMemory.Serves(b))
        {
            (norms, long[] rows) = NormKernel.Run(cross, a, b, scaling, squaredWeight, Cancellation);
            if (rows.Length == 0)
            {
                return norms.MoveToOuterDisposeScope();
            }

            cancelled = tensor(rows);
        }
        else
        {
            (norms, cancelled) = BySums(cross, a, b, scaling, squaredWeight);
        }

        if (cancelled.shape[0] > 0)
        {
            Tensor direct = SquaredDirectly(weight, a.to(ScalarType.Float64), b.to(ScalarType.Float64).mul(scaling), cancelled);
            norms.index_copy_(0, cancelled, direct.sqrt_().to(norms.dtype));
        }

        return norms.MoveToOuterDisposeScope();
    }

    private static Tensor Directly(Tensor rows, Tensor a, Tensor b, double scaling) =>
        linalg.vector_norm(rows.addmm(b, a, 1, (float)scaling), ord: 2, dims: [1]);

    private static (Tensor Norms, Tensor Cancelled) BySums(Tensor cross, Tensor a, Tensor b, double scaling, Tensor squaredWeight)
    {
        Tensor a64 = a.to(ScalarType.Float64);
        Tensor b64 = b.to(ScalarType.Float64).mul(scaling);
        Tensor crossed = cross.to(ScalarType.Float64).mul(b64).sum(dim: 1);
        Tensor squaredUpdate = b64.matmul(a64.matmul(a64.t())).mul_(b64).sum(dim: 1);
        Tensor squared = squaredWeight + squaredUpdate + (2 * crossed);

        Tensor sizes = b64.abs().matmul(a64.square().sum(dim: 1).sqrt()) * squaredWeight.sqrt();
        Tensor cancelled = squared.lt(sizes * Cancellation).nonzero().squeeze(1);
        return (squared.sqrt_().to(a.dtype), cancelled);
    }

    private static Tensor SquaredDirectly(FrozenWeight weight, Tensor a64, Tensor b64, Tensor rows)
    {
        List<Tensor> parts = [];
        foreach (Tensor indices in rows.split(256, dim: 0))
        {
            using var scope = NewDisposeScope();
            Tensor v = weight.Rows(indices, ScalarType.Float64);
            v.addmm_(b64.index_select(0, indices), a64);
            parts.Add(v.square().sum(dim: 1).MoveToOuterDisposeScope());
        }

        return cat(parts, dim: 0);
    }
}
