using System.Diagnostics.CodeAnalysis;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// The tensors of a model as Hugging Face stores them: one safetensors file, or shards that an index lists. Opening checks all
/// headers; a tensor is read when it is asked for.
/// </summary>
public sealed class SafetensorsCheckpoint : IDisposable
{
    private const string SingleFile = "model.safetensors";
    private const string IndexFile = "model.safetensors.index.json";

    private readonly List<SafetensorsReader> readers = [];
    private readonly OrderedDictionary<string, SafetensorsReader> readersByTensor = new(StringComparer.Ordinal);

    private SafetensorsCheckpoint(string path) => Path = path;

    /// <summary>The file, or the index of the shards.</summary>
    public string Path { get; }

    /// <summary>The names of all tensors, in the order of the files.</summary>
    public IReadOnlyCollection<string> Names => readersByTensor.Keys;

    /// <summary>What the file says of a tensor.</summary>
    /// <exception cref="KeyNotFoundException">There is no tensor of that name.</exception>
    public SafetensorsEntry this[string name] =>
        TryGetEntry(name, out SafetensorsEntry? entry) ? entry : throw new KeyNotFoundException($"'{Path}' has no tensor '{name}'.");

    /// <summary>Opens a checkpoint and checks it.</summary>
    /// <param name="path">
    /// A safetensors file, an index (<c>….safetensors.index.json</c>), or a folder with <c>model.safetensors</c> or <c>model.safetensors.index.json</c>.
    /// </param>
    /// <exception cref="FileNotFoundException">There is no such file, or the folder has neither.</exception>
    /// <exception cref="InvalidDataException">A file is damaged, or index and shards contradict each other; the message says where.</exception>
    public static SafetensorsCheckpoint Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        var checkpoint = new SafetensorsCheckpoint(Directory.Exists(path) ? FileOf(path) : path);
        try
        {
            if (checkpoint.Path.EndsWith(".json", StringComparison.Ordinal))
            {
                checkpoint.AddShards();
            }
            else
            {
                checkpoint.Add(checkpoint.Path);
            }

            return checkpoint;
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <summary>Looks up a tensor by name.</summary>
    public bool TryGetEntry(string name, [MaybeNullWhen(false)] out SafetensorsEntry entry)
    {
        entry = null;
        return readersByTensor.TryGetValue(name, out SafetensorsReader? reader) && reader.TryGetEntry(name, out entry);
    }

    /// <summary>Reads one tensor: a new one, which the caller disposes.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="device">Where the tensor shall live; the CPU by default.</param>
    /// <exception cref="KeyNotFoundException">There is no tensor of that name.</exception>
    public Tensor Read(string name, Device? device = null) =>
        readersByTensor.TryGetValue(name, out SafetensorsReader? reader) ? reader.Read(name, device) : throw new KeyNotFoundException($"'{Path}' has no tensor '{name}'.");

    /// <summary>Reads one tensor into contiguous CPU memory of its shape; into that of another dtype by pieces.</summary>
    internal void ReadInto(string name, Tensor tensor) => readersByTensor[name].ReadInto(this[name], tensor, TensorBytes.DefaultPiece);

    /// <summary>Closes the files. Tensors that were read stay valid.</summary>
    public void Dispose() => readers.ForEach(static reader => reader.Dispose());

    private static string FileOf(string folder)
    {
        string single = System.IO.Path.Combine(folder, SingleFile), index = System.IO.Path.Combine(folder, IndexFile);
        if (File.Exists(single))
        {
            return single;
        }

        if (File.Exists(index))
        {
            return index;
        }

        string? other = Directory.EnumerateFiles(folder, "*.bin").Select(System.IO.Path.GetFileName).Order().FirstOrDefault();
        throw new FileNotFoundException(
            $"'{folder}' holds neither {SingleFile} nor {IndexFile}{(other is null ? "" : $"; {other} is not read, save the model as safetensors")}.", single);
    }

    private void AddShards()
    {
        Dictionary<string, string> shards = ShardIndex.Read(Path);
        string folder = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(Path))!;
        foreach (string shard in shards.Values.Distinct().Order(StringComparer.Ordinal))
        {
            string path = System.IO.Path.Combine(folder, shard);
            if (System.IO.Path.GetFileName(shard) != shard || !File.Exists(path))
            {
                throw new InvalidDataException($"{Path}: weight_map names the shard '{shard}', which is no file of that folder.");
            }

            Add(path);
        }

        foreach ((string name, string shard) in shards)
        {
            if (!readersByTensor.TryGetValue(name, out SafetensorsReader? reader) || System.IO.Path.GetFileName(reader.Path) != shard)
            {
                throw new InvalidDataException($"{Path}: weight_map says that '{shard}' holds the tensor '{name}', which it does not.");
            }
        }
    }

    private void Add(string path)
    {
        SafetensorsReader reader = SafetensorsReader.Open(path);
        readers.Add(reader);
        foreach (SafetensorsEntry entry in reader.Entries)
        {
            if (!readersByTensor.TryAdd(entry.Name, reader))
            {
                throw new InvalidDataException($"The tensor '{entry.Name}' is in '{readersByTensor[entry.Name].Path}' and in '{path}'.");
            }
        }
    }
}
