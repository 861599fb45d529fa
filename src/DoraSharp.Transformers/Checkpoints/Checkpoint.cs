using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>The tensors of a Hugging Face model folder: <c>model.safetensors</c>, or the shards that <c>model.safetensors.index.json</c> lists.</summary>
internal sealed class Checkpoint : IDisposable
{
    private const string SingleFile = "model.safetensors";
    private const string IndexFile = "model.safetensors.index.json";

    private readonly List<SafetensorsReader> readers = [];
    private readonly Dictionary<string, SafetensorsReader> readersByTensor = new(StringComparer.Ordinal);

    private Checkpoint(string path) => Path = path;

    /// <summary>The file, or the index of the shards.</summary>
    public string Path { get; }

    /// <summary>The names of all tensors.</summary>
    public IReadOnlyCollection<string> Names => readersByTensor.Keys;

    public static Checkpoint Open(string folder)
    {
        string single = System.IO.Path.Combine(folder, SingleFile), index = System.IO.Path.Combine(folder, IndexFile);
        if (!File.Exists(single) && !File.Exists(index))
        {
            string[] others = [.. Directory.EnumerateFiles(folder).Select(System.IO.Path.GetFileName).OfType<string>().Where(name => name.EndsWith(".bin", StringComparison.Ordinal)).Order()];
            throw new FileNotFoundException(
                $"'{folder}' holds neither {SingleFile} nor {IndexFile}{(others.Length == 0 ? "" : $"; {others[0]} is not read, save the model as safetensors")}.", single);
        }

        var checkpoint = new Checkpoint(File.Exists(single) ? single : index);
        try
        {
            if (checkpoint.Path == single)
            {
                checkpoint.Add(single);
            }
            else
            {
                checkpoint.AddShards(folder, index);
            }

            return checkpoint;
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <summary>What the file says of a tensor.</summary>
    public SafetensorsEntry this[string name]
        => readersByTensor[name].TryGetEntry(name, out SafetensorsEntry? entry) ? entry : throw new KeyNotFoundException(name);

    public Tensor Read(string name) => readersByTensor[name].Read(name);

    public void Dispose() => readers.ForEach(reader => reader.Dispose());

    private void AddShards(string folder, string index)
    {
        JsonFields map = JsonFields.Load(index).Object("weight_map");
        Dictionary<string, string> shards = map.Names.ToDictionary(name => name, map.Text, StringComparer.Ordinal);
        foreach (string shard in shards.Values.Distinct().Order(StringComparer.Ordinal))
        {
            string path = System.IO.Path.Combine(folder, shard);
            if (System.IO.Path.GetFileName(shard) != shard || !File.Exists(path))
            {
                throw new InvalidDataException($"{map.Source} names the shard '{shard}', which is no file of that folder.");
            }

            Add(path);
        }

        foreach ((string name, string shard) in shards)
        {
            if (!readersByTensor.TryGetValue(name, out SafetensorsReader? reader) || System.IO.Path.GetFileName(reader.Path) != shard)
            {
                throw new InvalidDataException($"{map.Source} says that '{shard}' holds the tensor '{name}', which it does not.");
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
