using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Which adapter each sample of a batch is for.</summary>
internal sealed class SampleAdapters
{
    /// <summary>What stands for the base layer alone. PEFT: <c>__base__</c>.</summary>
    public const string Base = "__base__";

    private readonly int count;
    private readonly KeyValuePair<string, long[]>[] groups;

    public SampleAdapters(IReadOnlyList<string> names)
    {
        count = names.Count;
        groups = [.. names.Select((name, index) => (name, index)).GroupBy(sample => sample.name, StringComparer.Ordinal)
            .Select(group => KeyValuePair.Create(group.Key, group.Select(sample => (long)sample.index).ToArray()))];
    }

    /// <summary>The names that occur, each once.</summary>
    public IEnumerable<string> Names => groups.Select(group => group.Key);

    /// <summary>The output of a batch, each sample's by its own adapter.</summary>
    /// <param name="x">The layer's input, samples along the dimension.</param>
    /// <param name="z">The base layer's output, samples likewise.</param>
    /// <param name="adapt">The adapted output of some samples, for their input, their base output and an adapter's name.</param>
    /// <param name="dimension">The dimension of the samples.</param>
    /// <exception cref="InvalidOperationException">The batch has another number of samples.</exception>
    public Tensor Apply(Tensor x, Tensor z, Func<Tensor, Tensor, string, Tensor> adapt, int dimension = 0)
    {
        Check(x, dimension);
        Tensor y = z;
        foreach ((string name, long[] indices) in groups)
        {
            if (name == Base)
            {
                continue;
            }

            Tensor index = tensor(indices, device: z.device);
            Tensor part = adapt(x.index_select(dimension, index), z.index_select(dimension, index), name);
            y = y.index_copy(dimension, index, part);
        }

        return ReferenceEquals(y, z) ? z.alias() : y;
    }

    private void Check(Tensor x, int dimension)
    {
        if (x.dim() <= dimension || x.shape[dimension] != count)
        {
            throw new InvalidOperationException(
                $"Adapters were named for {count} samples; a layer's input is [{string.Join(", ", x.shape)}], whose dimension {dimension} must be the samples.");
        }
    }
}
