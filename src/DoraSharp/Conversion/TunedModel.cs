using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A fully trained model whose difference from another is looked for. It is only read.</summary>
internal sealed class TunedModel(nn.Module model)
{
    private readonly Dictionary<string, Tensor> values = Values(model).ToDictionary(entry => entry.Key, entry => entry.Value, StringComparer.Ordinal);

    /// <summary>A parameter by its full name.</summary>
    /// <param name="name">Its module's path and its own name.</param>
    /// <param name="shape">The shape that it must have.</param>
    /// <exception cref="ArgumentException">There is none of that name and shape.</exception>
    public Tensor Parameter(string name, long[] shape) => values.TryGetValue(name, out Tensor? value) && value.shape.SequenceEqual(shape)
        ? value
        : throw new ArgumentException($"The tuned model has {(value is null ? "no parameter" : $"[{string.Join(", ", value.shape)}] as")} '{name}'; the adapted model's is [{string.Join(", ", shape)}]. Nothing was changed.");

    /// <summary>The names of the parameters and buffers that differ from those of another model, or that only one of the two has.</summary>
    /// <param name="other">The other model, adapted or not.</param>
    /// <param name="except">Names that do not count.</param>
    public IReadOnlyList<string> Differences(nn.Module other, IReadOnlyCollection<string> except)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Dictionary<string, Tensor> theirs = Values(other).ToDictionary(entry => entry.Key, entry => entry.Value, StringComparer.Ordinal);
        return
        [
            .. values.Where(entry => !theirs.Remove(entry.Key, out Tensor? value) || !IsSame(entry.Value, value)).Select(entry => entry.Key)
                .Concat(theirs.Keys).Except(except, StringComparer.Ordinal),
        ];
    }

    private static bool IsSame(Tensor a, Tensor b) => a.shape.SequenceEqual(b.shape) && a.dtype == b.dtype && a.allclose(b.to(a.device), rtol: 0, atol: 0, equal_nan: true);

    private static IEnumerable<KeyValuePair<string, Tensor>> Values(nn.Module root)
    {
        foreach ((string path, nn.Module module) in ModuleTree.Of(root).Nodes.Select(node => (node.Path, node.Module)).Prepend(("", root)))
        {
            foreach ((string name, Tensor value) in module.named_parameters(recurse: false).Select(entry => (entry.name, (Tensor)entry.parameter)).Concat(module.named_buffers(recurse: false)))
            {
                yield return new(path.Length == 0 ? name : $"{path}.{name}", value);
            }
        }
    }
}
