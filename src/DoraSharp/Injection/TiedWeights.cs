using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Finds weights that an adapted layer shares, wholly or in part, with something else: merging would change both.</summary>
internal static class TiedWeights
{
    /// <summary>Throws where a merge would change more than the adapted layer itself.</summary>
    /// <exception cref="InvalidOperationException">A weight is shared; the message names both places.</exception>
    public static void Refuse(nn.Module model, IReadOnlyList<InstalledLayer> layers)
    {
        List<Block> adapted = [];
        HashSet<nn.Module> seen = new(ReferenceEqualityComparer.Instance);
        foreach (InstalledLayer layer in layers)
        {
            seen.Add(layer.Site.Layer);
            Block block = Block.Of(layer.Path, layer.Stack.Weight.Stored);
            Refuse(adapted, block, "each has an adapter of its own");
            adapted.Add(block);
        }

        foreach ((string path, nn.Module module) in model.named_modules().Prepend(("the model", model)))
        {
            if (!seen.Add(module) || module is AdapterStack or Adapter)
            {
                continue;
            }

            IEnumerable<(string Name, Tensor Value)> tensors = module.named_parameters(recurse: false).Select(p => (p.name, (Tensor)p.parameter));
            foreach ((string name, Tensor value) in tensors.Concat(module.named_buffers(recurse: false)))
            {
                Refuse(adapted, Block.Of($"{path}.{name}", value), "it has no adapter");
            }
        }
    }

    private static void Refuse(List<Block> adapted, Block other, string why)
    {
        if (adapted.Find(other.Overlaps) is { } block)
        {
            throw new InvalidOperationException(
                $"Merging {block.Path} would change {other.Path} as well, for they share memory and {why}. Nothing was merged. " +
                "Untie the two (give one of them a copy), or leave the layer out by ExcludeModules.");
        }
    }

    /// <summary>The memory that a tensor's elements span.</summary>
    private sealed record Block(string Path, nint First, nint End)
    {
        public static Block Of(string path, Tensor tensor)
        {
            nint first = TensorMemory.Address(tensor);
            long last = tensor.shape.Zip(tensor.stride(), (size, stride) => (size - 1) * stride).Sum();
            return new(path, first, tensor.numel() == 0 ? first : first + (nint)((last + 1) * tensor.ElementSize));
        }

        public bool Overlaps(Block other) => First < other.End && other.First < End;
    }
}
