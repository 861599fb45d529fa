using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>
/// The factored norm of arXiv 2603.22276, nothing kept between steps:
/// n² = ‖W‖² + 2s·rowsum(B ⊙ W Aᵀ) + s²·rowsum(B (A Aᵀ) ⊙ B), in float32.
/// </summary>
internal sealed class FactoredAdapter(Linear frozen, AdapterValues values) : PeerAdapter(frozen, values)
{
    protected override Tensor Norm()
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor weight = Weight.to(A.dtype);
        Tensor cross = (weight.matmul(A.t()) * B).sum(dim: 1);
        Tensor update = (B.matmul(A.matmul(A.t())) * B).sum(dim: 1);
        Tensor squared = weight.square().sum(dim: 1) + (2 * Scaling * cross) + (Scaling * Scaling * update);
        return squared.clamp_min(0).sqrt().MoveToOuterDisposeScope();
    }
}
