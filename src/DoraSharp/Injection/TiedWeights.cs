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
            RefuseTwoOfOne(layers);
            foreach (Place adapted in places.Where(place => place.Layer is { Stack: { Active.Count: > 0, Weight.IsReplacedInPlace: true } } || place.HasMergedBias))
            {
                foreach (Place other in places.Where(other => !ReferenceEquals(other, adapted) && adapted.Overlaps(other) && (adapted.HasMergedBias || !AreOne(adapted.Layer!, other.Layer))))
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

    /// <summary>Throws if a weight whose initial values would change is shared with anything else.</summary>
    /// <exception cref="InvalidOperationException">It is; the message names both places.</exception>
    public static void RefuseChange(nn.Module model, IReadOnlyList<InstalledLayer> layers, InstalledLayer layer, string cause)
    {
        if (!layer.Stack.Weight.IsReplacedInPlace)
        {
            return;
        }

        List<Place> places = [.. Places(model, layers)];
        Place changed = places.First(place => ReferenceEquals(place.Layer, layer));
        if (places.Find(place => !ReferenceEquals(place, changed) && place.Overlaps(changed)) is { } other)
        {
            throw new InvalidOperationException(
                $"{cause} would change the weight of {changed.Path}, and with it {other.Path}, for they share memory. Nothing was changed. " +
                "Untie the two (give one of them a copy), leave the layer out by ExcludeModules, or take an initialization that leaves the weight alone.");
        }
    }

    // One adapter serves both, so that both weights change alike: of each that is active.
    private static bool AreOne(InstalledLayer a, InstalledLayer? b) =>
        b is not null && b.Stack.Active.SequenceEqual(a.Stack.Active) && a.Stack.Active.All(name => AreTied(a.Stack[name], b.Stack[name]));

    private static bool AreTied(Adapter a, Adapter b) => ReferenceEquals(a.TiedTo, b) || ReferenceEquals(b.TiedTo, a);

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
        Dictionary<(nn.Module, string), InstalledLayer> adapted = layers.DistinctBy(Key).ToDictionary(Key, layer => layer);
        HashSet<TorchSharp.Modules.Parameter> biases = new(layers.Where(layer => layer.Stack.HasActiveBias).Select(layer => layer.Stack.Weight.Bias!), ReferenceEqualityComparer.Instance);
        HashSet<nn.Module> seen = new(ReferenceEqualityComparer.Instance);
        foreach ((string path, nn.Module module) in model.named_modules().Prepend(("the model", model)))
        {
            if (!seen.Add(module) || module is AdapterStack or Adapter or VeraProjections)
            {
                continue;
            }

            foreach ((string name, TorchSharp.Modules.Parameter parameter) in module.named_parameters(recurse: false))
            {
                yield return Place.Of(adapted.GetValueOrDefault((module, name)), module, path, name, parameter, isParameter: true) with { HasMergedBias = biases.Contains(parameter) };
            }

            foreach ((string name, Tensor buffer) in module.named_buffers(recurse: false))
            {
                yield return Place.Of(null, module, path, name, buffer, isParameter: false);
            }
        }
    }

    private static (nn.Module Module, string Name) Key(InstalledLayer layer) => (layer.Site.Layer, layer.Stack.Weight.Name);

    private static void RefuseTwoOfOne(IReadOnlyList<InstalledLayer> layers)
    {
        if (layers.Where(layer => layer.Stack.Active.Count > 0).GroupBy(Key).FirstOrDefault(group => group.Count() > 1) is { } twice)
        {
            throw new InvalidOperationException(
                $"{string.Join(" and ", twice.Select(layer => layer.Path))} are one weight, adapted as a layer and as a parameter: it cannot be merged while adapters of both are active. Nothing was merged.");
        }
    }

    /// <summary>A tensor of the model, and the memory that its elements span.</summary>
    private sealed record Place(InstalledLayer? Layer, nn.Module Module, string Name, bool IsParameter, string Path, nint First, nint End)
    {
        /// <summary>Whether it is the bias of an adapted layer into which active adapters fold theirs.</summary>
        public bool HasMergedBias { get; init; }

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
