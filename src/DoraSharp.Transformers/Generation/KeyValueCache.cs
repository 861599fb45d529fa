using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>The rotated keys and the values of the tokens so far, for each layer, in memory that is allocated once.</summary>
/// <remarks>For inference only: what is stored carries no gradient.</remarks>
internal sealed class KeyValueCache(int layers, long capacity) : IDisposable
{
    private readonly Tensor?[] storedKeys = new Tensor?[layers];
    private readonly Tensor?[] storedValues = new Tensor?[layers];

    /// <summary>How many tokens are stored.</summary>
    public long Length { get; private set; }

    /// <summary>Stores a layer's new keys and values <c>[batch, heads, tokens, dimension]</c>; gives views of all that are there.</summary>
    public (Tensor Keys, Tensor Values) Append(int layer, Tensor keys, Tensor values)
        => (Store(ref storedKeys[layer], keys), Store(ref storedValues[layer], values));

    /// <summary>Counts tokens that every layer has stored.</summary>
    public void Advance(long tokens) => Length += tokens;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Tensor? stored in storedKeys.Concat(storedValues))
        {
            stored?.Dispose();
        }
    }

    private Tensor Store(ref Tensor? store, Tensor added)
    {
        long tokens = added.shape[2];
        if (Length + tokens > capacity)
        {
            throw new InvalidOperationException($"The cache holds {capacity} tokens; {Length} are stored and {tokens} more do not fit.");
        }

        store ??= empty([added.shape[0], added.shape[1], capacity, added.shape[3]], dtype: added.dtype, device: added.device).DetachFromDisposeScope();
        using Tensor free = store.narrow(2, Length, tokens);
        free.copy_(added.detach());
        return store.narrow(2, 0, Length + tokens);
    }
}
