using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Finds weights that an adapted layer shares with a module that is not adapted: merging would change both.</summary>
internal static class TiedWeights
{
    /// <summary>Throws where a merge would change a module that has no adapter.</summary>
    /// <exception cref="InvalidOperationException">A weight is shared; the message names both modules.</exception>
    public static void Refuse(nn.Module model, IReadOnlyList<InstalledLayer> layers)
    {
        Dictionary<nint, string> adapted = [];
        HashSet<nn.Module> seen = new(ReferenceEqualityComparer.Instance);
        foreach (InstalledLayer layer in layers)
        {
            seen.Add(layer.Site.Layer);
            if (!adapted.TryAdd(TensorMemory.Address(layer.Stack.Weight.Source), layer.Path))
            {
                throw Shared(layer.Path, adapted[TensorMemory.Address(layer.Stack.Weight.Source)], "each has an adapter of its own");
            }
        }

        foreach ((string path, nn.Module module) in model.named_modules().Prepend(("the model", model)))
        {
            if (!seen.Add(module) || module is AdapterStack)
            {
                continue;
            }

            foreach ((string name, Parameter parameter) in module.named_parameters(recurse: false))
            {
                if (parameter.numel() > 0 && adapted.TryGetValue(TensorMemory.Address(parameter), out string? tied))
                {
                    throw Shared(tied, $"{path}.{name}", "it has no adapter");
                }
            }
        }
    }

    private static InvalidOperationException Shared(string first, string second, string why) => new(
        $"Merging {first} would change {second} as well, for they share one weight and {why}. Nothing was merged. " +
        "Untie the two (give one of them a copy), or leave the layer out by ExcludeModules.");
}
