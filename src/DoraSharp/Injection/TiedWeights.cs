using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Finds weights that an adapted layer shares, wholly or in part, with something else: merging would change both.</summary>
internal static class TiedWeights
{
    /// <summary>Separates the weights of which a merge would change more than the adapted layer itself.</summary>
    /// <returns>What was separated; disposing it ties the weights again.</returns>
    /// <exception cref="InvalidOperationException">A weight is shared and cannot be separated; the message names both places. Nothing was changed.</exception>
    public static Untying Separate(nn.Module model, IReadOnlyList<InstalledLayer> layers)
    {
        Untying untying = new();
        try
        {
            List<Place> places = [.. Places(model, layers)];
            foreach (Place adapted in places.Where(place => place.Layer is { Stack.Active.Count: > 0 }))
            {
                foreach (Place other in places.Where(other => !ReferenceEquals(other, adapted) && adapted.Overlaps(other) && !AreOne(adapted.Layer!, other.Layer)))
                {
                    Separate(untying, adapted, other);
                }
            }

            return untying;
        }
        catch
        {
            untying.Dispose();
            throw;
        }
    }

    // One adapter serves both, so that both weights change alike.
    private static bool AreOne(InstalledLayer a, InstalledLayer? b) =>
        b is not null && b.Stack.Active.SequenceEqual(a.Stack.Active) && (a.Site.TiedTo == b.Site.Node.Path || b.Site.TiedTo == a.Site.Node.Path);

    private static void Separate(Untying untying, Place adapted, Place other)
    {
        bool isTie = adapted.IsSameAs(other) && adapted.IsParameter && other.IsParameter;
        foreach (Place place in new[] { adapted, other })
        {
            if (isTie && Untying.CanCopy(place.Module))
            {
                if (!untying.Has(place.Module, place.Name))
                {
                    untying.Copy(place.Module, place.Name);
                }

                return;
            }
        }

        throw new InvalidOperationException(
            $"Merging {adapted.Path} would change {other.Path} as well, for they share memory and {(other.Layer is null ? "it has no adapter" : "each has an adapter of its own")}. " +
            "Nothing was merged. Untie the two (give one of them a copy), or leave the layer out by ExcludeModules.");
    }

    private static IEnumerable<Place> Places(nn.Module model, IReadOnlyList<InstalledLayer> layers)
    {
        Dictionary<(nn.Module, string), InstalledLayer> adapted = layers.ToDictionary(layer => (layer.Site.Layer, layer.Stack.Weight.Name), layer => layer);
        HashSet<nn.Module> seen = new(ReferenceEqualityComparer.Instance);
        foreach ((string path, nn.Module module) in model.named_modules().Prepend(("the model", model)))
        {
            if (!seen.Add(module) || module is AdapterStack or Adapter or VeraProjections)
            {
                continue;
            }

            foreach ((string name, TorchSharp.Modules.Parameter parameter) in module.named_parameters(recurse: false))
            {
                yield return Place.Of(adapted.GetValueOrDefault((module, name)), module, path, name, parameter, isParameter: true);
            }

            foreach ((string name, Tensor buffer) in module.named_buffers(recurse: false))
            {
                yield return Place.Of(null, module, path, name, buffer, isParameter: false);
            }
        }
    }

    /// <summary>A tensor of the model, and the memory that its elements span.</summary>
    private sealed record Place(InstalledLayer? Layer, nn.Module Module, string Name, bool IsParameter, string Path, nint First, nint End)
    {
        public static Place Of(InstalledLayer? layer, nn.Module module, string path, string name, Tensor tensor, bool isParameter)
        {
            nint first = TensorMemory.Address(tensor);
            long last = tensor.shape.Zip(tensor.stride(), (size, stride) => (size - 1) * stride).Sum();
            nint end = tensor.numel() == 0 ? first : first + (nint)((last + 1) * tensor.ElementSize);
            return new(layer, module, name, isParameter, layer?.Path ?? $"{path}.{name}", first, end);
        }

        public bool Overlaps(Place other) => First < other.End && other.First < End;

        public bool IsSameAs(Place other) => First == other.First && End == other.End;
    }
}
