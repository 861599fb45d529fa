using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Where weights are read to be quantized, one after the other: memory for the largest, taken once. Taking and freeing it for
/// each would leave the allocator with holes that the next one does not fit in.
/// </summary>
/// <param name="checkpoint">The file.</param>
/// <param name="sources">The names of all that will be read.</param>
internal sealed class CheckpointBuffer(SafetensorsCheckpoint checkpoint, IEnumerable<string> sources) : IDisposable
{
    private readonly Dictionary<ScalarType, long> elements = sources
        .Select(source => checkpoint[source])
        .GroupBy(static entry => entry.DType)
        .ToDictionary(static group => group.Key, static group => group.Max(static entry => entry.Shape.Aggregate(1L, static (product, size) => product * size)));

    private readonly Dictionary<ScalarType, Tensor> memory = [];

    /// <summary>Reads a weight: a view, good until the next is read, that the caller disposes.</summary>
    public Tensor Read(string source)
    {
        SafetensorsEntry entry = checkpoint[source];
        if (!memory.TryGetValue(entry.DType, out Tensor? flat))
        {
            flat = empty([elements[entry.DType]], entry.DType).DetachFromDisposeScope();
            memory.Add(entry.DType, flat);
        }

        using Tensor part = flat.narrow(0, 0, entry.Shape.Aggregate(1L, static (product, size) => product * size));
        Tensor view = part.view([.. entry.Shape]);
        checkpoint.ReadInto(source, view);
        return view;
    }

    public void Dispose()
    {
        foreach (Tensor tensor in memory.Values)
        {
            tensor.Dispose();
        }
    }
}
