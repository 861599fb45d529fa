using static TorchSharp.torch;

namespace DoraSharp;

/// <content>Several adapters become one new one.</content>
public sealed partial class AdaptedModel
{
    /// <summary>
    /// Adds an adapter that combines others, DoRA's magnitudes included. It is not active, and its scaling is 1 whatever
    /// that of the others is now. PEFT: <c>add_weighted_adapter</c>.
    /// </summary>
    /// <param name="newName">Its name: not empty, without dots.</param>
    /// <param name="combination">Which adapters become one, with which weights, and how.</param>
    /// <returns>What the new adapter adapts: every layer that one of the others adapts.</returns>
    /// <exception cref="ArgumentException">The name is taken, an adapter is unknown, or the combination does not fit their ranks. Nothing was changed.</exception>
    /// <exception cref="InvalidOperationException">The adapters are merged, or a value is not finite. Nothing was changed.</exception>
    /// <exception cref="NotSupportedException">An adapter has parts that cannot be combined; the message names them. Nothing was changed.</exception>
    public InjectionReport Combine(string newName, AdapterCombination combination)
    {
        ArgumentNullException.ThrowIfNull(combination);
        using KeepMasks? masks = combination.EffectiveType.PrunesAtRandom() && combination.Density is { } density ? new(density, combination.Seed) : null;
        return Combine(newName, combination, shape => masks!.Next(shape));
    }

    /// <summary>The same with DARE's masks from elsewhere: layer by layer, for each the masks of A per adapter, then of B; or of the updates.</summary>
    internal InjectionReport Combine(string newName, AdapterCombination combination, Func<long[], Tensor> keepMask)
    {
        RefuseIfUnloaded();
        RefuseIfMerged("combine adapters");
        combination.Check(newName, AdapterNames);
        LoraOptions[] options = [.. combination.Adapters.Select(CombinableOptions)];
        (InstalledLayer Layer, CombinationSource[] Sources)[] weights =
        [
            .. from layer in installation.Layers
               let sources = SourcesAt(layer, combination)
               where sources.Length > 0
               select (layer, sources),
        ];

        // One rank for all: a rank pattern would have to name every layer.
        int rank = weights.Max(weight => combination.RankOf([.. weight.Sources.Select(source => source.Rank)]));
        LoraOptions combined = CombinedOptions.Of(options, [.. weights.Select(weight => weight.Layer.Site.Node.Path).Distinct()], rank);
        Dictionary<AdapterStack, CombinedUpdate> updates = new(ReferenceEqualityComparer.Instance);
        try
        {
            foreach ((InstalledLayer layer, CombinationSource[] sources) in weights)
            {
                updates.Add(layer.Stack, WeightCombination.Combine(combination, sources, layer.Stack.Weight, combined.UseDora, rank, keepMask));
            }

            return AddCombined(newName, combined, updates);
        }
        finally
        {
            foreach (CombinedUpdate update in updates.Values)
            {
                update.Dispose();
            }
        }
    }

    private LoraOptions CombinableOptions(string adapterName) => OptionsOf(adapterName) as LoraOptions
        ?? throw new NotSupportedException(
            $"The adapter '{adapterName}' is {OptionsOf(adapterName).Summary}, whose projections all layers share; only LoRA and DoRA adapters can be combined. {nameof(ConvertToLora)} makes it one.");

    private static CombinationSource[] SourcesAt(InstalledLayer layer, AdapterCombination combination) =>
    [
        .. from entry in combination.Adapters.Zip(combination.Weights)
           where layer.Stack.Find(entry.First) is not null
           select SourceAt(layer, entry.First, entry.Second),
    ];

    private static CombinationSource SourceAt(InstalledLayer layer, string name, double weight)
    {
        LoraAdapter factors = (LoraAdapter)OneProduct(layer, name);
        return new(name, weight, factors.A, factors.B, factors.Scaling, factors.Magnitude, factors.BiasOfB);
    }

    private InjectionReport AddCombined(string name, LoraOptions options, Dictionary<AdapterStack, CombinedUpdate> updates)
    {
        InjectionPlan plan = InjectionPlan.Make(Model, options, injection, name) with { SavedOptions = options };
        InjectionReport report = Add(name, plan);
        try
        {
            InstalledLayer[] added = LayersOf(name);
            if (!added.Select(layer => layer.Stack).ToHashSet<AdapterStack>(ReferenceEqualityComparer.Instance).SetEquals(updates.Keys))
            {
                throw new InvalidOperationException(
                    $"The combined adapter's targets {options.TargetModules} match {string.Join(", ", added.Select(layer => layer.Path))}, which are not the layers that the others adapt. Nothing was changed.");
            }

            using var noGrad = no_grad();
            foreach (InstalledLayer layer in added)
            {
                ((LoraAdapter)layer.Stack[name]).Overwrite(updates[layer.Stack]);
            }

            return report;
        }
        catch
        {
            Remove(name);
            throw;
        }
    }
}
