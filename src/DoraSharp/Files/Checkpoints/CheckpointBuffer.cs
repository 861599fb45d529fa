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
    private readonly long elements = sources.Select(source => Count(checkpoint[source])).DefaultIfEmpty(0).Max();

    private readonly Dictionary<ScalarType, Tensor> memory = [];

    /// <summary>Reads a tensor into the memory that is kept: it holds until the next one is read, and the caller disposes this handle of it.</summary>
    /// <param name="source">The tensor's name in the file.</param>
    /// <param name="dtype">What numbers of floating point are converted to.</param>
    public Tensor Read(string source, ScalarType dtype)
    {
        SafetensorsEntry entry = checkpoint[source];
        Tensor tensor = Memory(entry, is_floating_point(entry.DType) ? dtype : entry.DType);
        checkpoint.ReadInto(source, tensor);
        return tensor;
    }

    public void Dispose()
    {
        foreach (Tensor tensor in memory.Values)
        {
            tensor.Dispose();
        }
    }

    private static long Count(SafetensorsEntry entry) => entry.Shape.Aggregate(1L, static (product, size) => product * size);

    private Tensor Memory(SafetensorsEntry entry, ScalarType dtype)
    {
        if (!memory.TryGetValue(dtype, out Tensor? flat))
        {
            flat = empty([elements], dtype).DetachFromDisposeScope();
            memory.Add(dtype, flat);
        }

        using Tensor part = flat.narrow(0, 0, Count(entry));
        return part.view([.. entry.Shape]);
    }
}
