using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Keeps a tensor that was computed from others for as long as none of them has changed. Exact for every tensor
/// operation: the sources are compared by identity and by libtorch's version counter. Where the counter cannot be
/// read, nothing is kept. Raw writes into a source's memory are not seen: <see cref="Clear"/> is for them.
/// </summary>
internal sealed class VersionedCache : IDisposable
{
    private Tensor? value;
    private Tensor[] sources = [];
    private long[] versions = [];

    /// <summary>The kept tensor if the sources are as they were, else what <paramref name="compute"/> returns. The cache owns the result.</summary>
    public Tensor GetOrCompute(ReadOnlySpan<Tensor> from, Func<Tensor> compute)
    {
        if (value is not null && IsCurrent(from))
        {
            return value;
        }

        Clear();
        Tensor[] kept = from.ToArray();
        bool keep = TensorVersions.AreReadable && Array.TrueForAll(kept, TensorVersions.HasVersion);
        long[] read = keep ? Array.ConvertAll(kept, TensorVersions.Of) : [];
        value = compute().DetachFromDisposeScope();
        sources = keep ? kept : [];
        versions = read;
        return value;
    }

    /// <summary>Forgets the kept tensor.</summary>
    public void Clear()
    {
        value?.Dispose();
        value = null;
        sources = [];
        versions = [];
    }

    public void Dispose() => Clear();

    private bool IsCurrent(ReadOnlySpan<Tensor> from)
    {
        if (from.Length != sources.Length)
        {
            return false;
        }

        for (int i = 0; i < from.Length; i++)
        {
            if (!ReferenceEquals(from[i], sources[i]) || from[i].IsInvalid || TensorVersions.Of(from[i]) != versions[i])
            {
                return false;
            }
        }

        return true;
    }
}
