using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>Which tensor of a checkpoint becomes which parameter, found and checked before any memory is taken.</summary>
internal sealed class LlamaLoadPlan
{
    private const string Prefix = "model.";
    private const int Shown = 5;

    private LlamaLoadPlan(LlamaConfig config, ScalarType dtype, IReadOnlyDictionary<string, string> sources, IReadOnlyCollection<string> quantizedWeights)
        => (Config, DType, Sources, QuantizedWeights) = (config, dtype, sources, quantizedWeights);

    /// <summary>The model's configuration: the file's, but untied where it says tied and holds an embedding and a head that differ, as in transformers 5.</summary>
    public LlamaConfig Config { get; }

    /// <summary>The narrowest dtype that holds every dense tensor exactly.</summary>
    public ScalarType DType { get; }

    /// <summary>The checkpoint's tensor of each parameter.</summary>
    public IReadOnlyDictionary<string, string> Sources { get; }

    /// <summary>The checkpoint's weights that are quantized there.</summary>
    public IReadOnlyCollection<string> QuantizedWeights { get; }

    public static LlamaLoadPlan Create(LlamaConfig config, SafetensorsCheckpoint checkpoint)
    {
        // Old folders store the rotary frequencies, which follow from the configuration.
        HashSet<string> unused = [.. checkpoint.Names.Where(name => !name.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal))];
        // A model that was saved without its head has no prefix.
        bool bare = unused.Contains(LlamaParameters.Embedding[Prefix.Length..]) && !unused.Any(name => name.StartsWith(Prefix, StringComparison.Ordinal));
        string InFile(string name) => bare && name.StartsWith(Prefix, StringComparison.Ordinal) ? name[Prefix.Length..] : name;

        string embedding = InFile(LlamaParameters.Embedding);
        if (config.TieWordEmbeddings && unused.Contains(LlamaParameters.Head))
        {
            if (!unused.Contains(embedding))
            {
                embedding = LlamaParameters.Head;
            }
            else if (AreEqual(checkpoint, embedding, LlamaParameters.Head))
            {
                unused.Remove(LlamaParameters.Head);
            }
            else
            {
                config = config with { TieWordEmbeddings = false };
            }
        }

        HashSet<string> quantized = [.. BitsandbytesReader.FindWeights(checkpoint)];
        foreach (string weight in quantized.Where(unused.Contains))
        {
            unused.ExceptWith(BitsandbytesReader.FindTensors(checkpoint, weight).Where(name => name != weight));
        }

        var sources = new Dictionary<string, string>(StringComparer.Ordinal);
        List<string> missing = [], misshapen = [];
        foreach ((string name, long[] shape) in LlamaParameters.Of(config))
        {
            string source = name == LlamaParameters.Embedding ? embedding : InFile(name);
            if (!unused.Remove(source))
            {
                missing.Add(source);
            }
            else if (!quantized.Contains(source) && !checkpoint[source].Shape.SequenceEqual(shape))
            {
                misshapen.Add($"{source} is [{string.Join(", ", checkpoint[source].Shape)}] and not [{string.Join(", ", shape)}]");
            }

            sources[name] = source;
            if (missing.Count > Shown)
            {
                break;
            }
        }

        string[] faults = [.. Fault("missing", missing), .. Fault("unexpected", missing.Count > Shown ? [] : [.. unused.Order(StringComparer.Ordinal)]), .. Fault("misshapen", misshapen)];
        return faults.Length == 0
            ? new LlamaLoadPlan(config, Widest(checkpoint, sources.Values.Where(source => !quantized.Contains(source))), sources, quantized)
            : throw new InvalidDataException($"'{checkpoint.Path}' does not hold the model that its config.json describes: {string.Join("; ", faults)}.");
    }

    private static IEnumerable<string> Fault(string kind, List<string> names)
        => names.Count == 0 ? [] : [$"{kind}: {string.Join(", ", names.Take(Shown))}{(names.Count > Shown ? ", …" : "")}"];

    private static bool AreEqual(SafetensorsCheckpoint checkpoint, string left, string right)
    {
        if (checkpoint[left].DType != checkpoint[right].DType || !checkpoint[left].Shape.SequenceEqual(checkpoint[right].Shape))
        {
            return false;
        }

        using Tensor one = checkpoint.Read(left), other = checkpoint.Read(right);
        return one.Equals(other);
    }

    private static ScalarType Widest(SafetensorsCheckpoint checkpoint, IEnumerable<string> tensors)
    {
        ScalarType? widest = null;
        foreach (string name in tensors)
        {
            ScalarType dtype = checkpoint[name].DType;
            if (dtype is not (ScalarType.Float32 or ScalarType.Float64 or ScalarType.BFloat16 or ScalarType.Float16))
            {
                throw new NotSupportedException($"'{checkpoint.Path}': the tensor '{name}' is of dtype {dtype}; supported are float32, float64, bfloat16 and float16.");
            }

            widest = widest is null ? dtype : promote_types(widest.Value, dtype);
        }

        return widest!.Value;
    }
}
