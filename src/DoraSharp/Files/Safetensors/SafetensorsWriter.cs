using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Writes safetensors files that equal those of the reference library (huggingface/safetensors) byte for byte.</summary>
public static class SafetensorsWriter
{
    /// <summary>Writes a file: first under a temporary name in the same folder, then, when all of it is on the disk, moved to its place.</summary>
    /// <param name="path">Where to write; a file that is there is replaced. The folder must exist.</param>
    /// <param name="tensors">
    /// The tensors by name, in any order, on any device, with any strides; each is written in its own dtype
    /// (all that TorchSharp has but <c>ComplexFloat64</c> and the quantized ones, which the format lacks). They stay the caller's.
    /// </param>
    /// <param name="metadata">Free text for the file's <c>__metadata__</c>, written in this order; <see langword="null"/> leaves it out. PyTorch's readers expect <c>format = pt</c>.</param>
    /// <exception cref="ArgumentException">A name is given twice or is no valid text; a tensor is disposed, sparse, or of a dtype that the format lacks.</exception>
    /// <exception cref="IOException">The file cannot be written; what was at <paramref name="path"/> is still there.</exception>
    public static void Write(string path, IEnumerable<KeyValuePair<string, Tensor>> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(tensors);
        using PendingFile file = Begin(path, SafetensorsLayout.Create(tensors, metadata));
        file.Move();
    }

    /// <summary>Writes the temporary file; the caller moves it to its place.</summary>
    internal static PendingFile Begin(string path, SafetensorsLayout layout)
    {
        PendingFile file = new(path, layout.Length);
        try
        {
            file.Stream.Write(layout.Header.Span);
            foreach (Tensor tensor in layout.Tensors)
            {
                TensorBytes.Write(tensor, file.Stream);
            }

            file.Complete();
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }
}
