using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>
/// Hugging Face PEFT's algorithm: the dense update comes from sending an identity [in, in] through A and B, and in training with
/// dropout the scaled part needs a second product with W, of the dropped input.
/// </summary>
internal sealed class PeftAdapter(Linear frozen, AdapterValues values) : PeerAdapter(frozen, values)
{
    protected override Tensor Norm()
    {
        using var scope = NewDisposeScope();
        Tensor identity = eye(A.shape[1], dtype: A.dtype, device: A.device);
        Tensor update = nn.functional.linear(nn.functional.linear(identity, A), B).t();
        return RowNorm(Weight.to(A.dtype) + (Scaling * update.detach())).MoveToOuterDisposeScope();
    }

    protected override Tensor ScaledProduct(Tensor z, Tensor dropped) =>
        IsTraining && Dropout > 0 ? nn.functional.linear(dropped, Weight.to(dropped.dtype)) : z;
}
