using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Keeps a value that was computed from others for as long as none of them has changed. Exact for every tensor
/// operation: the sources are compared by identity, of object and of native tensor, and by libtorch's version counter. Where the counter cannot be
/// read, nothing is kept. What TorchSharp's <c>load</c> writes is noticed by <see cref="StateRequests"/>; other raw writes into a source's memory are
/// not seen: <see cref="Clear"/> is for them.
/// </summary>
/// <typeparam name="T">What is kept.</typeparam>
/// <param name="share">Makes handles of their own to what is kept.</param>
internal class VersionedValue<T>(Func<T, T> share) : IDisposable
    where T : class, IDisposable
{
    private readonly Lock gate = new();
    private T? value;
    private Tensor[] sources = [];
    private (nint Identity, long Version)[] versions = [];
    private long requests;

    /// <summary>
    /// The kept value if the sources are as they were, else what <paramref name="compute"/> returns. The caller gets a
    /// handle of its own, which stays valid whatever other threads do.
    /// </summary>
    public T GetOrCompute(ReadOnlySpan<Tensor> from, Func<T> compute)
    {
        lock (gate)
        {
            if (value is null || !IsCurrent(from))
            {
                Renew(from, compute);
            }

            return share(value!);
        }
    }

    /// <summary>Forgets the kept value.</summary>
    public void Clear()
    {
        lock (gate)
        {
            value?.Dispose();
            value = null;
            sources = [];
            versions = [];
        }
    }

    public void Dispose() => Clear();

    private static (nint Identity, long Version) StateOf(Tensor tensor) => (TensorIdentity.Of(tensor), TensorVersions.Of(tensor));

    private void Renew(ReadOnlySpan<Tensor> from, Func<T> compute)
    {
        Clear();
        Tensor[] kept = from.ToArray();
        bool keep = TensorVersions.AreReadable && Array.TrueForAll(kept, TensorVersions.HasVersion);
        (nint, long)[] read = keep ? Array.ConvertAll(kept, StateOf) : [];

        // What evaluation in inference mode computes, training may use next; autograd refuses tensors made in that mode.
        using var noInference = inference_mode(false);
        requests = StateRequests.Count;
        value = compute();
        sources = keep ? kept : [];
        versions = read;
    }

    private bool IsCurrent(ReadOnlySpan<Tensor> from)
    {
        if (from.Length != sources.Length || requests != StateRequests.Count)
        {
            return false;
        }

        for (int i = 0; i < from.Length; i++)
        {
            if (!ReferenceEquals(from[i], sources[i]) || from[i].IsInvalid || StateOf(from[i]) != versions[i])
            {
                return false;
            }
        }

        return true;
    }
}
