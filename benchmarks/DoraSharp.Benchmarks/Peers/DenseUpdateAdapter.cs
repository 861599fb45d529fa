using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>The dense norm without the detour over an identity: V = W + s·(B·A), as in torchtune.</summary>
internal sealed class DenseUpdateAdapter(Linear frozen, AdapterValues values) : PeerAdapter(frozen, values)
{
    protected override Tensor Norm()
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        return RowNorm(Weight.to(A.dtype) + (Scaling * B.matmul(A))).MoveToOuterDisposeScope();
    }
}
