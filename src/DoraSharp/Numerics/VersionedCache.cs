using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A <see cref="VersionedValue{T}"/> that is one tensor.</summary>
internal sealed class VersionedCache() : VersionedValue<Tensor>(static tensor => tensor.alias())
{
    /// <inheritdoc cref="VersionedValue{T}.GetOrCompute"/>
    public new Tensor GetOrCompute(ReadOnlySpan<Tensor> from, Func<Tensor> compute) => base.GetOrCompute(from, () => compute().DetachFromDisposeScope());
}
